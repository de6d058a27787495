"""LitServe: one worker process per core, pictures over ZeroMQ instead of a multiprocessing queue."""

from typing import Any

import litserve
from starlette.requests import Request

from benchmarks.peers.classifier import CORES, Classifier, port


class ClassifierAPI(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002 - always the CPU
        self._classifier = Classifier(threads=1)

    def decode_request(self, request: Request) -> bytes:
        form: Any = request  # a Request in the signature asks for its form
        data: bytes = form["image"].file.read()
        return data

    def predict(self, x: bytes) -> dict[str, Any]:
        return self._classifier(x)

    def encode_response(self, output: Any) -> dict[str, Any]:  # noqa: ANN401 - as LitAPI has it
        return dict(output)


if __name__ == "__main__":
    server = litserve.LitServer(
        ClassifierAPI(api_path="/infer"),
        accelerator="cpu",
        workers_per_device=CORES,
        fast_queue=True,
        timeout=False,
        disable_openapi_url=True,
    )
    # One HTTP process feeds two workers; a second one would take their cores.
    server.run(
        host="127.0.0.1",
        port=port(),
        num_api_servers=1,
        log_level="warning",
        access_log=False,
        generate_client_file=False,
    )
