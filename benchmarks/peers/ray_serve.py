"""Ray Serve: one replica per core."""

from ray import serve
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse

from benchmarks.peers import on_ray
from benchmarks.peers.classifier import CORES, Classifier


@serve.deployment(num_replicas=CORES, max_ongoing_requests=64, ray_actor_options={"num_cpus": 1})
class ImageClassifier:
    def __init__(self) -> None:
        self._classifier = Classifier(threads=1)

    async def __call__(self, request: Request) -> JSONResponse:
        async with request.form() as form:
            image = form["image"]
            assert isinstance(image, UploadFile)
            return JSONResponse(self._classifier(await image.read()))


if __name__ == "__main__":
    on_ray.run(ImageClassifier.bind(), "/infer")  # type: ignore[attr-defined]  # by the decorator
