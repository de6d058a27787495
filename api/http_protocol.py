"""HTTP/1.1 by httptools, with a bound on headers that the parser itself does not have."""

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Of one request, its URL included. A client that needs more is no client of ours.
MAX_HEADER_BYTES = 64 * 1024


class BoundedHttpProtocol(HttpToolsProtocol):
    """Answers 400 and closes the connection on a request whose headers do not end within MAX_HEADER_BYTES.

    What arrives in one read is parsed before it is counted, so a little more may get through.
    """

    _header_bytes = 0
    _in_headers = False

    def data_received(self, data: bytes) -> None:
        if self._in_headers:
            self._header_bytes += len(data)
            if self._header_bytes > MAX_HEADER_BYTES:
                self.send_400_response("The request's headers are too large.")
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        self._in_headers, self._header_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_headers = False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if cycle is None or cycle.body or cycle.response_complete:
            super().on_body(body)
            return
        # What arrives in one piece is handed on as it is; uvicorn would copy it into a bytearray, and out again.
        cycle.body = body  # type: ignore[assignment]  # whatever has a length, can be added to, and becomes bytes
        if len(body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()
