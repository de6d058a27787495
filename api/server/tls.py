"""HTTPS: TLS 1.2 and later, HTTP/1.1. A renewed certificate is used without a restart."""

import logging
import ssl
from contextlib import suppress
from pathlib import Path
from time import monotonic

_CHECK_EVERY_S = 1.0
_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME: an expired certificate is read, too

_log = logging.getLogger("fovea")


def ssl_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """A context whose certificate follows the two files. Raises ValueError if they cannot be used."""
    return _Renewed(certificate, key).context


def _load(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_reject_password)
    except ssl.SSLError as error:
        mismatch = error.reason == "KEY_VALUES_MISMATCH"
        raise ValueError("API_TLS_KEY is not the certificate's key" if mismatch else "not a valid PEM file") from None
    except OSError as error:
        raise ValueError(f"cannot read certificate or key: {error.strerror}") from None
    return context


def _reject_password() -> str:
    raise ValueError("the key is encrypted; API_TLS_KEY must be a key without a password")


class CertificateExpiry:
    """Call it for the end of the validity of the certificate in use, in seconds since the epoch."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = certificate, key
        self._contents: list[bytes] = []
        self._expiry = 0.0

    def __call__(self) -> float:
        contents = _contents(self._files)
        if contents != self._contents:
            self._contents = contents
            with suppress(ValueError):  # an invalid certificate leaves the old one in use
                self._expiry = _expiry(_load(*self._files), self._files[0])
        return self._expiry


def _expiry(server_context: ssl.SSLContext, certificate: Path) -> float:
    """Reads the date in a handshake in memory: the ssl module decodes verified certificates of the other side only."""
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.load_verify_locations(certificate)
    client_context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for end in (client, server, client):
        with suppress(ssl.SSLWantReadError):
            end.do_handshake()
    found = client.getpeercert() or {}
    return float(ssl.cert_time_to_seconds(str(found["notAfter"])))


class _Renewed:
    """`context` gives each handshake the certificate that is on disk; an invalid one leaves the old one in use."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self._contents = _contents(self._files)
        self._checked = monotonic()
        self.context = self._current = _load(*self._files)
        self.context.sni_callback = self._before_handshake  # called without a server name, too

    def _before_handshake(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        if monotonic() - self._checked > _CHECK_EVERY_S:
            self._checked = monotonic()
            self._renew()
        if self._current is not self.context:
            connection.context = self._current

    def _renew(self) -> None:
        contents = _contents(self._files)
        if contents == self._contents:
            return
        self._contents = contents
        try:
            self._current = _load(*self._files)
        except ValueError as error:
            _log.warning("cannot reload TLS certificate: %s", error)
        else:
            _log.info("reloaded TLS certificate")


def _contents(files: tuple[Path, Path]) -> list[bytes]:
    """Empty if a file cannot be read."""
    try:
        return [file.read_bytes() for file in files]
    except OSError:
        return []
