"""FastAPI as its documentation advises for blocking work: a plain `def` route, which runs in the thread pool."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio.to_thread
import uvicorn
from fastapi import FastAPI, File, UploadFile

from benchmarks.peers.classifier import CORES, Classifier, port


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """One thread per core, as each run uses one core; the default of 40 threads would only compete."""
    anyio.to_thread.current_default_thread_limiter().total_tokens = CORES
    yield


app = FastAPI(lifespan=lifespan)
classifier = Classifier(threads=1)


@app.post("/infer")
def infer(image: Annotated[UploadFile, File()]) -> dict[str, Any]:
    return classifier(image.file.read())


if __name__ == "__main__":
    uvicorn.run(app, port=port(), access_log=False, log_level="warning")
