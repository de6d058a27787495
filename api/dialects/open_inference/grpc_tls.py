"""TLS for gRPC. A renewed certificate is used without a restart, as for HTTPS."""

import logging
import ssl
from pathlib import Path
from typing import Any

import grpc

_log = logging.getLogger("fovea")

_Pair = tuple[bytes, bytes]


def credentials(certificate: Path, key: Path) -> Any:  # noqa: ANN401 - grpc has no annotations
    """Server credentials that follow the two files. API_TLS_CERT and API_TLS_KEY were checked at start."""
    current = _read(certificate, key)

    def renewed() -> Any:  # noqa: ANN401 - grpc has no annotations
        """Called for each handshake. None keeps the certificate; invalid files keep it, too."""
        nonlocal current
        try:
            found = _read(certificate, key)
            if found == current:
                return None
            current = found
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            _log.warning("cannot reload TLS certificate for gRPC: %s", type(error).__name__)
            return None
        _log.info("reloaded TLS certificate for gRPC")
        return _configuration(found)

    return grpc.dynamic_ssl_server_credentials(_configuration(current), renewed)


def _configuration(pair: _Pair) -> Any:  # noqa: ANN401 - grpc has no annotations
    return grpc.ssl_server_certificate_configuration([pair])


def _read(certificate: Path, key: Path) -> _Pair:
    return key.read_bytes(), certificate.read_bytes()
