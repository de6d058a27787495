"""The protocol stands on uvicorn's own parts; a new uvicorn must be read before it is taken."""

import hashlib
import inspect
from importlib.metadata import version

from uvicorn.protocols.http import flow_control, httptools_impl

# Replaced, as uvicorn's with ours added: of HttpToolsProtocol data_received, on_header, on_headers_complete,
# on_body, on_message_complete, on_response_complete, shutdown, timeout_keep_alive_handler; of RequestResponseCycle
# run_asgi, send.
# Relied on: all other methods of the two, FlowControl, and their attributes.
READ = {
    "httptools_impl": "1d4e1c579df4168433a61a01f10c628b31c1790e72dd9769d2b8633b22214033",
    "flow_control": "d39d16560df512f3ce907c329c2a0c3f5cd7165fef3b753876eae5739bf2a785",
}


def test_uvicorn_is_the_one_that_was_read() -> None:
    found = {
        module.__name__.rpartition(".")[2]: hashlib.sha256(inspect.getsource(module).encode()).hexdigest()
        for module in (httptools_impl, flow_control)
    }
    assert found == READ, f"uvicorn {version('uvicorn')}: compare it with 0.54.0 against http_protocol.py and its parts"
