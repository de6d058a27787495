"""HTTPS served by this process itself: TLS 1.2 and later, HTTP/1.1. A renewed certificate is taken up at once."""

import logging
import ssl
from pathlib import Path
from time import monotonic

from api.settings import ApiSettings

_LOOK_EVERY_S = 1.0

_log = logging.getLogger("fovea")

# What a file's state is told by: mtime (ns), inode and bytes.
_Mark = tuple[int, int, int]


def server_context(settings: ApiSettings) -> ssl.SSLContext | None:
    """None where no certificate is set. The files may be replaced while it serves."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return _Renewed(settings.tls_cert, settings.tls_key).context


def load_certificate(certificate: Path, key: Path) -> ssl.SSLContext:
    """Raises ValueError with what is wrong with the two files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except ssl.SSLError as error:
        reason = "they do not belong together" if error.reason == "KEY_VALUES_MISMATCH" else "not a valid PEM file"
        raise ValueError(f"certificate and key cannot be used: {reason}") from None
    except OSError as error:
        raise ValueError(f"certificate and key cannot be read: {error.strerror}") from None
    return context


def _refuse_password() -> str:
    raise ValueError("the key is encrypted; nobody is here to be asked for its password")


class _Renewed:
    """`context` gives each handshake the certificate that is on disk; one that cannot be used leaves the old one."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self._marks = self._look()
        self._looked = monotonic()
        self.context = self._current = load_certificate(*self._files)
        self.context.sni_callback = self._before_handshake  # called without a name, too

    def _before_handshake(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        if monotonic() - self._looked > _LOOK_EVERY_S:
            self._looked = monotonic()
            self._renew()
        if self._current is not self.context:
            connection.context = self._current

    def _renew(self) -> None:
        marks = self._look()
        if marks == self._marks:
            return
        self._marks = marks
        try:
            self._current = load_certificate(*self._files)
        except ValueError as error:
            _log.warning("the changed certificate is not taken: %s", error)
        else:
            _log.info("the changed certificate is taken")

    def _look(self) -> list[_Mark | None]:
        return [_mark(file) for file in self._files]


def _mark(file: Path) -> _Mark | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino, stat.st_size
