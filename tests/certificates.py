"""Certificates of a small authority of our own."""

import ssl
from datetime import datetime
from pathlib import Path

import trustme

NAME = "127.0.0.1"


def issue(
    authority: trustme.CA, folder: Path, not_before: datetime | None = None, not_after: datetime | None = None
) -> tuple[Path, Path]:
    issued = authority.issue_cert(NAME, not_before=not_before, not_after=not_after)
    certificate, key = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(key)
    return certificate, key


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context
