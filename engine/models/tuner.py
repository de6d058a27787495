"""Gives a loaded model the run plan that is best on this machine, which is measured once and cached.

The key of a plan in `<cache>/tuning` is the digest of the model's files, the runtime, the execution providers, the
processor and its cores.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from engine.models.digest import model_digest
from engine.models.load import graph_in
from engine.models.loaded_model import LoadedModel
from engine.models.measurement_cache import read_measurement, write_measurement
from engine.scheduling.run_plan import RunLimits, TuneLevel, default_plan
from engine.scheduling.runner import Runner, single_session
from engine.scheduling.tuning import Subject, Tuning, measure, thread_counts_to_try
from loaders.model_errors import ModelRunError
from loaders.repository.model_repository import ModelVersion
from loaders.runtimes.base import ModelLoader, Session, SessionOptions
from loaders.tensors import Tensor
from utils.processor import processor

# A graph whose sessions hold more than this each gets one session, which always uses all cores, to save memory.
_LARGE_BYTES = 64 * 1024 * 1024
# A graph whose sessions hold up to this much each gets one for each run.
_SMALL_BYTES = 8 * 1024 * 1024

_TUNING = TypeAdapter(Tuning)
_log = logging.getLogger("fovea.models")


@dataclass(frozen=True, slots=True)
class Tuner:
    """`options`: of a session with one thread. `cores`: shared by all runs. `cache`: the cache folder, if any.

    `concurrency` gives the runs at once in this process at most, when a model is loaded; None: one a core.
    """

    loader: ModelLoader
    options: SessionOptions
    cores: int
    level: TuneLevel = TuneLevel.OFF
    limits: RunLimits = field(default_factory=RunLimits)
    cache: Path | None = None
    concurrency: Callable[[], int] | None = None

    def __call__(self, model: LoadedModel, version: ModelVersion) -> LoadedModel:
        """Raises ModelError if a further session cannot be loaded."""
        on_cpu = model.session.on_cpu
        if on_cpu and model.session.private_bytes > _LARGE_BYTES:
            threads = min(self.limits.intra_op_threads or self.cores, self.cores)
            return model.with_runner(single_session(self._load(version, threads), threads), None)
        tuning = self._tuning(model, version)
        plan = tuning.plan if tuning else default_plan(self.cores, on_cpu=on_cpu)
        batches = max(plan.batch, self.limits.batch) > 1 and can_batch(model)
        plan = self.limits.apply(plan, self.cores, on_cpu=on_cpu, can_batch=batches)
        sessions = {threads: self._sessions(model, version, threads) for threads in plan.intra_op_threads}
        return model.with_runner(Runner(sessions, plan), tuning)

    def _sessions(self, model: LoadedModel, version: ModelVersion, threads: int) -> list[Session]:
        """One for each run at once, if that takes little memory. Sessions used for measuring are not reused."""
        if model.session.private_bytes > _SMALL_BYTES or model.session.has_room_for_all_runs:
            return [model.session] if threads == self.options.threads else [self._load(version, threads)]
        concurrency = self.concurrency() if self.concurrency else self.cores
        runs = max(1, min(concurrency, self.cores // threads))
        sessions = [self._load(version, threads) for _ in range(runs)]
        for session in sessions:
            session.run(model.black_picture())  # allocates before the first request
        return sessions

    def _tuning(self, model: LoadedModel, version: ModelVersion) -> Tuning | None:
        """The cached tuning, or one that is measured now; None without tuning."""
        if self.level is TuneLevel.OFF:
            return None
        file = self._file(version, model.session.providers)
        known = read_measurement(file, _TUNING)
        if known and known.level in (self.level, TuneLevel.FULL):
            return known
        intra_op_threads = thread_counts_to_try(self.cores) if model.session.on_cpu else (1,)
        sessions = {threads: self._load(version, threads) for threads in intra_op_threads}
        subject = Subject(sessions, partial(batch_of, model), partial(can_batch, model))
        tuning = measure(subject, self.cores, self.level)
        if tuning.conclusive:
            write_measurement(file, _TUNING, tuning)
        threads, batch = "/".join(map(str, tuning.plan.intra_op_threads)), tuning.plan.batch
        figures = (version.name, version.number, threads, batch, tuning.reason)
        _log.info("model tuned name=%s version=%s intra_op_threads=%s max_batch=%s reason=%s", *figures)
        return tuning

    def _load(self, version: ModelVersion, threads: int) -> Session:
        return self.loader.load(graph_in(version, self.options.precision), replace(self.options, threads=threads))

    def _file(self, version: ModelVersion, providers: tuple[str, ...]) -> Path | None:
        this_processor = processor()
        if self.cache is None or this_processor is None:
            return None
        how = (self.loader.version, self.options.providers, self.options.precision, providers)
        context = (*how, this_processor, self.cores)
        return self.cache / "tuning" / f"{model_digest(version, *context)}.json"


def can_batch(model: LoadedModel) -> bool:
    """Whether the graph declares a free batch dimension, and a run of two pictures gives two answers."""
    session = model.session
    if any(not info.shape or info.shape[0] is not None for info in (*session.inputs, *session.outputs)):
        return False
    try:
        outputs = session.run(batch_of(model, 2))
    except ModelRunError:
        return False
    return all(output.shape[:1] == (2,) for output in outputs.values())


def batch_of(model: LoadedModel, pictures: int) -> dict[str, Tensor]:
    return {name: np.concatenate([tensor] * pictures) for name, tensor in model.black_picture().items()}
