"""For a container's HEALTHCHECK: ends with 0 when the service is alive. The standard library alone: it runs often."""

import os
import ssl
import sys
from urllib.error import URLError
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

_TIMEOUT_S = 4


def main() -> int:
    tls = bool(os.environ.get("API_TLS_CERT"))
    port = os.environ.get("API_PORT") or "8000"
    # To itself, by an address that no certificate names.
    context = ssl._create_unverified_context() if tls else None  # noqa: S323 - see above
    try:
        # Past any proxy that the environment names.
        opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))
        address = f"{'https' if tls else 'http'}://127.0.0.1:{port}/health/live"
        with opener.open(address, timeout=_TIMEOUT_S) as answer:
            return 0 if answer.status == 200 else 1
    except (URLError, OSError):
        return 1


if __name__ == "__main__":
    sys.exit(main())
