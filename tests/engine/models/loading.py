"""Loads that are counted and can be held up, and ways to wait for what they lead to."""

import gc
import weakref
from collections import Counter
from collections.abc import Callable
from threading import Event
from time import monotonic, sleep

from engine.models.load import load_model
from engine.models.load_attempt import ModelUnavailableError
from engine.models.loaded_model import LoadedModel
from engine.models.model_manager import ModelManager
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import ModelVersion
from loaders.runtimes.base import SessionOptions

Make = Callable[..., ModelManager]
WAIT_S = 10.0
ASKERS = 16


class CountedLoad:
    """Loads for real, counts, and waits for `go`."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, int]] = Counter()
        self.go = Event()
        self.go.set()

    def __call__(self, version: ModelVersion) -> LoadedModel:
        self.counts[version.name, version.number] += 1
        assert self.go.wait(WAIT_S)
        return load_model(version, create_model_loader("onnxruntime"), SessionOptions())


def eventually(condition: Callable[[], object]) -> bool:
    until = monotonic() + WAIT_S
    while not condition() and monotonic() < until:
        sleep(0.001)
    return bool(condition())


def forgotten(model: "weakref.ref[LoadedModel]") -> bool:
    """The thread that loaded it may hold it a moment longer than the future it gave it to."""
    return eventually(lambda: gc.collect() >= 0 and model() is None)


def serves(models: ModelManager, name: str, number: int | None) -> bool:
    return eventually(lambda: models.serving(name) == number)


def fails(models: ModelManager, name: str, number: int | None = None) -> ModelUnavailableError:
    error = models.request(name, number).exception(WAIT_S)
    assert isinstance(error, ModelUnavailableError)
    return error
