"""CORS: which other origins may call the API from a browser, and which response headers their scripts may read."""

from typing import Any

# Arguments of Starlette's CORSMiddleware. Credentials are never allowed: scripts send the key as a header.
CORS_OPTIONS: dict[str, Any] = {
    "allow_methods": ["GET", "POST", "PUT", "DELETE"],
    "allow_headers": [
        "Authorization", "Content-Type", "If-None-Match", "X-API-Key", "X-Request-ID", "X-Request-Timeout-Ms",
        "traceparent", "tracestate",
    ],
    "expose_headers": ["ETag", "Retry-After", "Server-Timing", "WWW-Authenticate", "X-Request-ID", "traceresponse"],
}  # fmt: skip
