"""nginx with deploy/nginx.conf, on a free port, in front of services."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.services import free_port
from tests.paths import ROOT
from tests.server import until

CONF = ROOT / "deploy" / "nginx.conf"
PROGRAM = shutil.which("nginx") or "/usr/sbin/nginx"
# nginx started by root runs its workers as another user, which cannot write to the test's folder.
USER = "user root;" if os.geteuid() == 0 else ""


def write_conf(folder: Path, ports: Sequence[int], listen: int, location: str = "") -> Path:
    """A whole configuration that includes deploy/nginx.conf, with these ports, `location`, and writable paths."""
    site = CONF.read_text(encoding="utf-8")
    servers = "".join(f"server 127.0.0.1:{port} max_fails=0; " for port in ports)
    for shown, tested in (
        ("listen 80;", f"listen 127.0.0.1:{listen}; {location}"),
        ("server 127.0.0.1:8000 max_fails=0;", servers),
    ):
        assert shown in site
        site = site.replace(shown, tested)
    (folder / "site.conf").write_text(site)
    paths = "".join(
        f"{name}_temp_path {folder}/{name}; " for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole = folder / "nginx.conf"
    whole.write_text(
        f"{USER} daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;\n"
        f"events {{ worker_connections 256; }}\nhttp {{ access_log off; {paths} include {folder}/site.conf; }}\n"
    )
    return whole


def check_conf(conf: Path) -> str:
    """`nginx -t`. Returns what is wrong; empty if nothing is."""
    command = [PROGRAM, "-t", "-q", "-c", str(conf), "-p", str(conf.parent), "-e", str(conf.parent / "error.log")]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


@contextmanager
def nginx(ports: Sequence[int], folder: Path, location: str = "") -> Iterator[str]:
    """Runs it. Gives its address."""
    listen = free_port()
    conf = write_conf(folder, ports, listen, location)
    process = subprocess.Popen([PROGRAM, "-c", str(conf), "-p", str(folder), "-e", str(folder / "error.log")])
    try:
        until(lambda: _listens(listen))
        yield f"http://127.0.0.1:{listen}"
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
