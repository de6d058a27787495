"""Ray Serve: one replica per core behind HAProxy, with the options that its documentation names for throughput."""

import os
import signal
import tempfile

# Ray reads these when it is imported. Its workers would otherwise run at nice 15, behind the load generator.
os.environ |= {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_worker_niceness": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}

import ray
from ray import serve
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse

from benchmarks.peers.classifier import CORES, Classifier, port


@serve.deployment(num_replicas=CORES, max_ongoing_requests=64, ray_actor_options={"num_cpus": 1})
class ImageClassifier:
    def __init__(self) -> None:
        self._classifier = Classifier(threads=1)

    async def __call__(self, request: Request) -> JSONResponse:
        async with request.form() as form:
            image = form["image"]
            assert isinstance(image, UploadFile)
            return JSONResponse(self._classifier(await image.read()))


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        ray.init(num_cpus=CORES + 2, include_dashboard=False, log_to_driver=False, _temp_dir=folder)
        serve.start(http_options={"host": "127.0.0.1", "port": port()})
        serve.run(ImageClassifier.bind(), route_prefix="/infer")  # type: ignore[attr-defined]  # by the decorator
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
        ray.shutdown()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
