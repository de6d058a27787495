"""What the application and the HTTP protocol tell each other, by way of ASGI's `state`."""

from dataclasses import dataclass

# Of the lifespan's state: the HttpTimeouts that the protocol shall keep.
HTTP_TIMEOUTS = "http_timeouts"
# Of a request's state. Set by a route: nobody else wants what it does, so it is cancelled when its client leaves.
ENDS_WITH_CLIENT = "ends_with_client"
# Set by the protocol before it cancels for that reason.
CLIENT_LEFT = "client_left"


@dataclass(frozen=True, slots=True)
class HttpTimeouts:
    """Seconds. `header_s`: from a request's first byte, or the opening of the connection, to the end of its headers.

    `send_s`: in which a client must take something of what waits for it. `keep_alive_s`: idle between two requests.
    """

    header_s: float = 10.0
    send_s: float = 30.0
    keep_alive_s: float = 65.0
