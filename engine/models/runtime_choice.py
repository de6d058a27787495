"""Chooses the runtime and the precision of each model, by what was measured on this machine; the result is cached.

The key of a choice in `<cache>/runtimes` is the digest of the model's files, the runtimes, the processor, its cores and
the settings.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from engine.models.check import ModelCheck
from engine.models.digest import model_digest
from engine.models.measurement_cache import read_measurement, write_measurement
from engine.models.runtime_comparison import EXACT_TOLERANCE
from engine.models.runtime_report import Comparison, RuntimeChoice
from loaders.model_errors import CheckTimeoutError, ModelCheckError
from loaders.model_loader import DEFAULT_MODEL_LOADER, is_installed
from loaders.repository.model_repository import ModelVersion
from loaders.runtimes.base import AUTO, Precision
from utils.processor import processor

OPENVINO = "openvino"
# Another runtime is taken if it is faster by a tenth, and clearly slower neither alone nor with a run on each core.
_CLEARLY_FASTER, _CLEARLY_SLOWER = 1.1, 0.9

_log = logging.getLogger("fovea.models")

_CHOICE = TypeAdapter(RuntimeChoice)
_COMPARISON = TypeAdapter(Comparison)


def candidates(loader: str, *, fast: bool) -> tuple[tuple[str, Precision], ...]:
    """Returns the runtimes and precisions to compare with the reference of `loader`, as far as they are installed."""
    openvino = loader != DEFAULT_MODEL_LOADER and is_installed(OPENVINO)
    exact = [(OPENVINO, Precision.EXACT)] if openvino and loader == AUTO else []
    if not fast:
        return tuple(exact)
    bf16 = [(OPENVINO, Precision.BF16)] if openvino else []
    runtimes = [loader] if loader != AUTO else [DEFAULT_MODEL_LOADER, *([OPENVINO] if openvino else [])]
    return (*exact, *bf16, *((runtime, Precision.INT8) for runtime in runtimes))


@dataclass(frozen=True, slots=True)
class RuntimeChooser:
    """`check` has the reference runtime. `tolerance`: the largest difference of answers in bfloat16 and int8."""

    check: ModelCheck
    candidates: tuple[tuple[str, Precision], ...]
    cores: int
    tolerance: float

    def __call__(self, version: ModelVersion) -> RuntimeChoice:
        """Returns the cached choice, or one that is measured now."""
        tried = [way for way in self.candidates if way[1] is not Precision.INT8 or version.twin]
        if not tried:
            return RuntimeChoice(self.check.model_loader)
        file = self._file(version)
        choice = read_measurement(file, _CHOICE)
        if choice is None:
            choice = self._choose([self._compare(version, *way) for way in tried])
            if all(comparison.conclusive for comparison in choice.compared):
                write_measurement(file, _CHOICE, choice)
        _log.info(
            'runtime chosen name=%s version=%s runtime=%s precision=%s reason="%s"',
            *(version.name, version.number, choice.runtime, choice.precision, choice.reason),
        )
        return choice

    def _compare(self, version: ModelVersion, runtime: str, precision: Precision) -> Comparison:
        tolerance = self._tolerance(precision)
        other = {"runtime": runtime, "precision": precision, "tolerance": tolerance, "cores": self.cores}
        try:
            return _COMPARISON.validate_json(self.check.compare(version, other))
        except ModelCheckError as error:
            timed_out = isinstance(error, CheckTimeoutError)
            return Comparison(runtime, precision, rejected=str(error), conclusive=not timed_out)

    def _choose(self, compared: Sequence[Comparison]) -> RuntimeChoice:
        reference = self.check.model_loader
        gains = {comparison: _gain(comparison) for comparison in compared}
        best = max(compared, key=lambda comparison: gains[comparison])
        if gains[best] < _CLEARLY_FASTER:
            return RuntimeChoice(reference, reason="no other is faster by a tenth", compared=tuple(compared))
        reason = f"{gains[best]:.2f} times as fast as {reference}, its answers differ by at most {best.difference:.2g}"
        return RuntimeChoice(best.runtime, best.precision, reason, self._tolerance(best.precision), tuple(compared))

    def _tolerance(self, precision: Precision) -> float:
        return EXACT_TOLERANCE if precision is Precision.EXACT else self.tolerance

    def _file(self, version: ModelVersion) -> Path | None:
        from importlib.metadata import version as package_version

        this_processor = processor()
        if this_processor is None:
            return None
        openvino = package_version(OPENVINO) if is_installed(OPENVINO) else ""
        context = (self.check.runtime, openvino, self.candidates, self.tolerance)
        digest = model_digest(version, *context, this_processor, self.cores)
        return self.check.cache / "runtimes" / f"{digest}.json"


def _gain(comparison: Comparison) -> float:
    """The geometric mean of both speeds relative to the reference; 0 if it cannot be taken."""
    before, after = comparison.reference_speed, comparison.speed
    if comparison.rejected or before is None or after is None:
        return 0.0
    alone, parallel = before.ms / after.ms, after.pictures_per_s / before.pictures_per_s
    return math.sqrt(alone * parallel) if min(alone, parallel) >= _CLEARLY_SLOWER else 0.0
