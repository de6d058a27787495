"""A container's HEALTHCHECK: exits with 0 if the service is alive. Imports only the standard library, for speed."""

import os
import ssl
import sys
from urllib.error import URLError
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

_TIMEOUT_S = 4


def main() -> int:
    tls = bool(os.environ.get("API_TLS_CERT"))
    port = os.environ.get("API_PORT") or "8000"
    # The service is on the loopback address, which its certificate does not name.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        # Ignores HTTP_PROXY.
        opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))
        address = f"{'https' if tls else 'http'}://127.0.0.1:{port}/health/live"
        with opener.open(address, timeout=_TIMEOUT_S) as answer:
            return 0 if answer.status == 200 else 1
    except (URLError, OSError):
        return 1


if __name__ == "__main__":
    sys.exit(main())
