"""HTTP/1.1 by httptools, one message at a time, with bounds that the parser itself does not have."""

import asyncio
import urllib.parse
from typing import NoReturn

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from api.http_connection import HttpConnection
from api.http_cycle import Cycle
from api.problems import HeadersTooLargeError, HeadersTooSlowError, MalformedRequestError, RequestError

# Of one request, its URL included; and of what comes with a chunked body beside the body. No client of ours needs more.
MAX_HEADER_BYTES = 64 * 1024
# What is kept of the requests behind one that is being answered; then the client has to wait.
_HELD_BYTES = 64 * 1024
# After an answer that came early so much of its request's body is skipped; with more to come the connection ends.
_SKIPPED_BYTES = 64 * 1024
# Requests behind a chunked one may be parsed with it, where it has trailers: no more of them than fit in here.
_CHUNKED_PIECE = 16 * 1024
_END_OF_HEADERS = b"\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"
_FRAMING = frozenset((b"content-length", b"transfer-encoding", b"expect"))


class _UpgradeOfferedError(Exception):
    """Another protocol is offered, which is ours to decline."""


class BoundedHttpProtocol(HttpConnection):
    """What is behind a request that is not answered yet waits as it came, unparsed.

    So a client that leaves is noticed whatever it has sent before. One that only ends its sending counts as gone.
    """

    _in_headers = _told_chunked = _chunked = False
    _head_bytes = _told_length = _body_left = _beside_body = 0
    _head_tail = b""
    _idle_since = 0.0
    _objection: Exception | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._await_headers()

    # What arrives

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            self._drop(len(data))
            return
        self._feed(data)
        cycle = self.cycle
        if cycle is None or (cycle.response_complete and (self._head_bytes or cycle.more_body)):
            self._await_headers()

    def _feed(self, data: bytes) -> None:
        start, end = 0, len(data)
        while start < end and not self._deaf:
            cycle = self.cycle
            waits = cycle is not None and not cycle.more_body and not cycle.response_complete
            if waits or self.pipeline:
                self._hold(data[start:])
                return
            stop = self._end_of_piece(data, start)
            if stop:
                self._parse(data if stop - start == end else memoryview(data)[start:stop], self._chunked)
            start = stop

    def _hold(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > _HELD_BYTES:
            self.flow.pause_reading()

    def _end_of_piece(self, data: bytes, start: int) -> int:
        """Of headers or of a body, never of both, so that the parser stops between two requests. 0 when it refuses."""
        end = len(data)
        if self._body_left:
            stop = start + self._body_left
            return stop if stop < end else end
        if self._chunked:
            stop = self._end_of_chunks(data, start)
            self._head_tail = (self._head_tail + data[max(start, stop - 3) : stop])[-3:]  # they may begin in there
            self._beside_body += stop - start
            if self._beside_body > MAX_HEADER_BYTES:
                self._refuse(HeadersTooLargeError(MAX_HEADER_BYTES))
                return 0
            return stop
        return self._end_of_headers(data, start)

    @staticmethod
    def _end_of_chunks(data: bytes, start: int) -> int:
        """Where they most likely end; to stop elsewhere harms nobody."""
        stop = min(len(data), start + _CHUNKED_PIECE)
        if data.startswith(_LAST_CHUNK, start):
            return start + len(_LAST_CHUNK)
        found = data.find(b"\r\n" + _LAST_CHUNK, start, stop)
        return stop if found < 0 else found + 2 + len(_LAST_CHUNK)

    def _end_of_headers(self, data: bytes, start: int) -> int:
        tail = self._head_tail
        if tail and (found := (tail + data[start : start + 3]).find(_END_OF_HEADERS)) >= 0:
            stop = start + found + 4 - len(tail)
        elif (found := data.find(_END_OF_HEADERS, start)) >= 0:
            stop = found + 4
        else:
            stop = len(data)
            self._head_tail = (tail + data[max(start, stop - 3) : stop])[-3:]
        self._head_bytes += stop - start
        if self._head_bytes > MAX_HEADER_BYTES:
            self._refuse(HeadersTooLargeError(MAX_HEADER_BYTES))
            return 0
        return stop

    def _parse(self, piece: bytes | memoryview, chunked: bool) -> None:
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserError as error:
            cause, self._objection = self._objection, None
            if isinstance(error.__context__, MemoryError):
                cause = error.__context__
            if isinstance(cause, _UpgradeOfferedError) and not chunked:
                self._parse_again_without_upgrade()
            elif isinstance(cause, RequestError | MemoryError):
                self._refuse(cause)
            else:
                self._refuse(MalformedRequestError(f"What was sent is no valid HTTP/1.1: {error}."))

    def _object(self, error: Exception) -> NoReturn:
        """From within a callback. The parser raises another error then, whose context may be of an earlier request."""
        self._objection = error
        raise error

    def _parse_again_without_upgrade(self) -> None:
        """The parser would take the request's body for the offered protocol's bytes."""
        version = self.parser.get_http_version().encode()
        head = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        head += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self._parse(b"\r\n".join(head) + _END_OF_HEADERS, chunked=False)

    def _await_headers(self) -> None:
        if self._header_timer is None and not self._deaf:
            self._header_timer = self.loop.call_later(self._timeouts.header_s, self._headers_too_slow)

    def _headers_too_slow(self) -> None:
        self._header_timer = None
        if self._head_bytes:
            self._refuse(HeadersTooSlowError(self._timeouts.header_s))
        else:
            self._close()

    # The parser's callbacks

    def on_message_begin(self) -> None:
        self._in_headers, self._told_chunked, self._told_length = True, False, 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_headers:
            return  # a trailer: nothing here asks for any, and as a header it would come after the guard
        name = name.lower()
        if name in _FRAMING:
            self._note_framing(name, value)
        self.headers.append((name, value))

    def _note_framing(self, name: bytes, value: bytes) -> None:
        """The parser has refused what is ambiguous: two lengths, or a length and chunks."""
        if name == b"content-length":
            self._told_length = int(value)
        elif name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"
        elif value.strip().lower() == b"chunked":
            self._told_chunked = True
        else:
            self._object(MalformedRequestError("Transfer-Encoding may only be chunked."))

    def on_headers_complete(self) -> None:
        """As uvicorn's, but for our own cycle, the version, and offers of other protocols."""
        self._in_headers = False
        self._head_bytes, self._head_tail, self._beside_body = 0, b"", 0
        self._stop_header_timer()
        parser, scope = self.parser, self.scope
        version, method = parser.get_http_version(), parser.get_method()
        if version != "1.1":
            if version != "1.0" or self._told_chunked:
                self._object(MalformedRequestError(f"HTTP/{version} is not spoken here in this way; use HTTP/1.1."))
            scope["http_version"] = version
            self.expect_100_continue = False
        if parser.should_upgrade():
            if method == b"CONNECT":
                self._object(MalformedRequestError("This is no proxy."))
            self._object(_UpgradeOfferedError())
        try:
            url = httptools.parse_url(self.url)
        except httptools.HttpParserInvalidURLError:
            self._object(MalformedRequestError("The request's target is no valid address."))
        raw_path = url.path or b"/"
        path = raw_path.decode("ascii")
        scope["method"] = method.decode("ascii")
        scope["path"] = self.root_path + (urllib.parse.unquote(path) if "%" in path else path)
        scope["raw_path"] = self.root_path.encode("ascii") + raw_path
        scope["query_string"] = url.query or b""
        self._chunked, self._body_left = self._told_chunked, self._told_length
        self._begin_cycle(keep_alive=version == "1.1" and parser.should_keep_alive())

    def _begin_cycle(self, *, keep_alive: bool) -> None:
        cycle = self.cycle = Cycle(
            scope=self.scope,
            transport=self._wire,  # type: ignore[arg-type]  # as much of it as is used
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )
        cycle.connection = self
        if self._running is None or self._running.response_complete:
            self._start(cycle)
        else:  # only behind a chunked request, with which it was parsed
            self.pipeline.appendleft((cycle, self.app))

    def _start(self, cycle: Cycle) -> None:
        self._running = cycle
        task = cycle.task = self.loop.create_task(cycle.run_asgi(self.app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_body(self, body: bytes) -> None:
        if self._body_left:
            self._body_left -= len(body)
        self._beside_body = 0
        cycle = self.cycle
        if cycle.response_complete:
            return
        if not cycle.body:
            # What arrives in one piece is handed on as it is; uvicorn would copy it into a bytearray, and out again.
            cycle.body = body  # type: ignore[assignment]  # whatever has a length, and becomes bytes
        else:
            if type(cycle.body) is not bytearray:
                cycle.body = bytearray(cycle.body)
            cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        self._chunked, self._body_left = False, 0
        cycle = self.cycle
        cycle.more_body = False
        if cycle.response_complete:  # the rest was skipped
            self._stop_header_timer()
            self._go_idle()
        else:
            cycle.message_event.set()

    # Answers

    @property
    def skips_rest(self) -> bool:
        """Not of one whose client waits for our word to send it, nor of one without a length."""
        cycle = self.cycle
        return cycle is self._running and 0 < self._body_left <= _SKIPPED_BYTES and not cycle.waiting_for_100_continue

    def on_response_complete(self) -> None:
        """As uvicorn's, and with what was held back."""
        self.server_state.total_requests += 1
        if self.transport.is_closing() or self._lingering:  # what is behind the last answer is not for us
            self.pipeline.clear()
            return
        if self.pipeline:
            cycle, _ = self.pipeline.pop()
            self._start(cycle)
            if not self.pipeline:
                self._feed_held()  # its own body may be in there
        elif self._refusal:
            self._send_refusal(self._refusal)
        elif not self._deaf:
            self.flow.resume_reading()
            self._feed_held()
            if not self._deaf and self.cycle.response_complete:
                self._go_idle()

    def _feed_held(self) -> None:
        if self._held and not self._deaf:
            data = bytes(self._held)
            self._held.clear()
            self._feed(data)

    def _go_idle(self) -> None:
        if self._ending:
            self._close()
        elif self._head_bytes:
            self._await_headers()
        else:
            self._idle_since = self.loop.time()
            if self.timeout_keep_alive_task is None:
                self._await_request(self._timeouts.keep_alive_s)

    def _await_request(self, seconds: float) -> None:
        """One timer for many requests: setting and cancelling one for each would cost more than all else here."""
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        self.timeout_keep_alive_task = None
        if self._deaf or not self.cycle.response_complete or self._head_bytes:
            return  # there is another timer for that
        left_s = self._idle_since + self._timeouts.keep_alive_s - self.loop.time()
        if left_s > 0:
            self._await_request(left_s)
        else:
            self._close()
