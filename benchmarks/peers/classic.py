"""The classic handler: an async route that runs the model on the event loop, which is what most tutorials show."""

from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, File, UploadFile

from benchmarks.peers.classifier import Classifier, port

app = FastAPI()
# One picture at a time, so a run uses all cores, which is ONNX Runtime's default.
classifier = Classifier(threads=0)


@app.post("/infer")
async def infer(image: Annotated[UploadFile, File()]) -> dict[str, Any]:
    return classifier(await image.read())


if __name__ == "__main__":
    uvicorn.run(app, port=port(), access_log=False, log_level="warning")
