"""Which web pages of other origins may ask, and what their scripts may read of the answers."""

from collections.abc import Sequence
from typing import Any


def cors_options(origins: Sequence[str]) -> dict[str, Any]:
    """For Starlette's CORSMiddleware. Keys go in headers that a page sets itself: credentials are never allowed."""
    return {
        "allow_origins": list(origins),
        "allow_methods": ["GET", "POST", "PUT", "DELETE"],
        "allow_headers": [
            "Authorization",
            "Content-Type",
            "If-None-Match",
            "X-API-Key",
            "X-Request-ID",
            "X-Request-Timeout-Ms",
        ],
        "expose_headers": ["ETag", "Retry-After", "Server-Timing", "X-Request-ID"],
    }
