"""`make key`: prints a random API key, the setting that allows it, and an example."""

import sys
from hashlib import sha256
from secrets import token_urlsafe

_KEY_BYTES = 32

_TEXT = """\
Key for the client. It is not stored anywhere:
  {key}

Setting for the service (separate several with commas; use API_ADMIN_KEYS for clients that may change models):
  API_KEYS=sha256:{digest}

Example:
  curl -H 'X-API-Key: {key}' -F image=@cat.jpg http://127.0.0.1:8000/infer
"""


def main() -> None:
    key = token_urlsafe(_KEY_BYTES)
    while key.startswith("-"):  # it would look like an option
        key = token_urlsafe(_KEY_BYTES)
    sys.stdout.write(_TEXT.format(key=key, digest=sha256(key.encode()).hexdigest()))


if __name__ == "__main__":
    main()
