"""`make key`: a new random key, and what to do with it."""

import sys
from hashlib import sha256
from secrets import token_urlsafe

_KEY_BYTES = 32

_TOLD = """\
Key, for whoever asks; it is shown this once and kept nowhere:
  {key}

Setting, for the service (several with commas; API_ADMIN_KEYS= for those who change models):
  API_KEYS=sha256:{digest}

Use:
  curl -H 'X-API-Key: {key}' -F image=@cat.jpg http://127.0.0.1:8000/infer
"""


def main() -> None:
    key = token_urlsafe(_KEY_BYTES)
    while key.startswith("-"):  # programs would take it for an option
        key = token_urlsafe(_KEY_BYTES)
    sys.stdout.write(_TOLD.format(key=key, digest=sha256(key.encode()).hexdigest()))


if __name__ == "__main__":
    main()
