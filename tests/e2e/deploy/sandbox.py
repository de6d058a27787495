"""`python -m tests.e2e.deploy.sandbox UNIT COMMAND...` runs the command under a systemd unit's system call rules.

As systemd does it, with libseccomp: SystemCallFilter, RestrictAddressFamilies, RestrictNamespaces (threads are then
made by an older system call) and MemoryDenyWriteExecute.
"""

import ctypes
import errno
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000  # SCMP_ACT_ALLOW, SCMP_ACT_ERRNO
_EQUAL = 4  # SCMP_CMP_EQ
_FAMILIES = 46  # AF_MAX
_SET_MDWE, _REFUSE_EXEC_GAIN = 65, 1  # PR_SET_MDWE


class _Argument(ctypes.Structure):
    _fields_ = (("number", ctypes.c_uint), ("compare", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


class _Filter:
    """A seccomp filter. Loading it also sets no_new_privs."""

    def __init__(self, default: int) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2")
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(default)))

    def add(self, action: int, call: str, *arguments: _Argument) -> None:
        """Names that this machine's architecture or libseccomp does not have are left out."""
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        compared = (_Argument * len(arguments))(*arguments)
        if number >= 0:
            rule = (self._context, ctypes.c_uint32(action), number, len(arguments), compared)
            assert self._library.seccomp_rule_add_array(*rule) == 0, call

    def load(self) -> None:
        assert self._library.seccomp_load(self._context) == 0, "seccomp_load"


def restrict(unit: str) -> None:
    """Applies the directives in the text of a unit to this process, for good."""
    if _values(unit, "MemoryDenyWriteExecute") == ["yes"]:
        assert ctypes.CDLL(None).prctl(_SET_MDWE, _REFUSE_EXEC_GAIN, 0, 0, 0) == 0, "PR_SET_MDWE"
    allowed = {call for name in _values(unit, "SystemCallFilter") if name[0] != "~" for call in _calls(name)}
    denied = {call for name in _values(unit, "SystemCallFilter") if name[0] == "~" for call in _calls(name[1:])}
    others = _Filter(_ALLOW)
    if _values(unit, "RestrictNamespaces") == ["yes"]:
        others.add(_ERRNO | errno.ENOSYS, "clone3")
        others.add(_ERRNO | errno.EPERM, "unshare")
        others.add(_ERRNO | errno.EPERM, "setns")
    families = {getattr(socket, name) for name in _values(unit, "RestrictAddressFamilies")}
    for family in set(range(_FAMILIES)) - families:
        others.add(_ERRNO | errno.EAFNOSUPPORT, "socket", _Argument(0, _EQUAL, family, 0))
    others.load()
    calls = _Filter(_ERRNO | errno.EPERM)
    for call in allowed - denied:
        calls.add(_ALLOW, call)
    calls.load()


def _values(unit: str, directive: str) -> list[str]:
    return " ".join(re.findall(rf"^{directive}=(.*)$", unit, re.MULTILINE)).split()


def _calls(name: str) -> Iterable[str]:
    """The system calls of a name, which may be a set such as `@system-service`."""
    if not name.startswith("@"):
        return [name]
    command = ["systemd-analyze", "syscall-filter", name]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[1:]
    return [call for line in listed if (word := line.strip()) and word[0] != "#" for call in _calls(word)]


if __name__ == "__main__":
    restrict(Path(sys.argv[1]).read_text(encoding="utf-8"))
    os.execvp(sys.argv[2], sys.argv[2:])
