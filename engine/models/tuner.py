"""A loaded model -> the same model with the plan that suits it here: measured once, then remembered.

The plan is kept in `<cache>/tuning` by the digest of the model's files, the runtime, the execution providers, the
processor and its cores.
"""

import logging
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from engine.models.digest import model_digest
from engine.models.loaded_model import LoadedModel
from engine.scheduling.run_plan import RunLimits, RunPlan, TuneLevel, default_plan
from engine.scheduling.runner import Runner
from engine.scheduling.tuning import Subject, Tuning, measure, thread_counts_to_try
from loaders.model_errors import ModelRunError
from loaders.repository.model_repository import ModelVersion
from loaders.runtimes.base import ModelLoader, Session, SessionOptions
from loaders.tensors import Tensor
from utils.files import replace_file
from utils.processor import processor

# Of so large a graph one session is kept, which always uses all cores: memory counts more than the last tenth of speed.
_LARGE_BYTES = 512 * 1024 * 1024
# A copy of so small a graph for each lane does not matter.
_SMALL_BYTES = 8 * 1024 * 1024
_DEEPER = {TuneLevel.OFF: 0, TuneLevel.QUICK: 1, TuneLevel.FULL: 2}

_TUNING = TypeAdapter(Tuning)
_log = logging.getLogger("fovea.models")


@dataclass(frozen=True, slots=True)
class Tuner:
    """`options` make a session of one core; `cores`: what all runs share; `cache`: where plans are kept, if at all.

    `runs`: most of them at once in this process, 0: one a core.
    """

    loader: ModelLoader
    options: SessionOptions
    cores: int
    level: TuneLevel = TuneLevel.OFF
    limits: RunLimits = field(default_factory=RunLimits)
    cache: Path | None = None
    runs: int = 0

    def __call__(self, model: LoadedModel, version: ModelVersion) -> LoadedModel:
        """Raises ModelError when a further session cannot be made."""
        if model.session.on_cpu and _size(version) > _LARGE_BYTES:
            return self._as_wide_as_can_be(model, version)
        on_cpu = model.session.on_cpu
        tuning = self._tuning(model, version)
        plan = tuning.plan if tuning else default_plan(self.cores, on_cpu=on_cpu)
        batches = max(plan.batch, self.limits.batch) > 1 and can_batch(model)
        plan = self.limits.apply(plan, self.cores, on_cpu=on_cpu, can_batch=batches)
        sessions = {threads: self._sessions(model, version, threads) for threads in plan.intra_op_threads}
        return model.with_runner(Runner(sessions, plan, self.limits.wait_s), tuning)

    def _as_wide_as_can_be(self, model: LoadedModel, version: ModelVersion) -> LoadedModel:
        threads = min(self.limits.threads or self.cores, self.cores)
        return model.with_runner(Runner({threads: [self._load(version, threads)]}, RunPlan((threads,))), None)

    def _sessions(self, model: LoadedModel, version: ModelVersion, threads: int) -> list[Session]:
        """As many as may run at once, where that takes little memory; none that was measured with others beside it."""
        if not model.session.shares_weights and _size(version) > _SMALL_BYTES:
            return [model.session] if threads == self.options.threads else [self._load(version, threads)]
        sessions = [self._load(version, threads) for _ in range(self._at_once(threads))]
        for session in sessions:
            session.run(model.black_picture())  # its memory is there before the first request
        return sessions

    def _at_once(self, threads: int) -> int:
        return max(1, min(self.runs or self.cores, self.cores // threads))

    def _tuning(self, model: LoadedModel, version: ModelVersion) -> Tuning | None:
        """What is remembered, or measured now."""
        if self.level is TuneLevel.OFF:
            return None
        file = self._file(version, model.session.providers)
        known = _read(file)
        if known and known.plan.suits(self.cores) and _DEEPER[known.level] >= _DEEPER[self.level]:
            return known
        intra_op_threads = thread_counts_to_try(self.cores, self.level) if model.session.on_cpu else (1,)
        sessions = {threads: self._load(version, threads) for threads in intra_op_threads}
        subject = Subject(sessions, partial(batch_of, model), partial(can_batch, model))
        tuning = measure(subject, self.cores, self.level)
        if tuning.conclusive:
            _write(file, tuning)
        words = (*_words(version, tuning.plan), tuning.reason)
        _log.info("tuned: %s version %s runs on %s cores, at most %s pictures a run: %s", *words)
        return tuning

    def _load(self, version: ModelVersion, threads: int) -> Session:
        return self.loader.load(version.graph, replace(self.options, threads=threads))

    def _file(self, version: ModelVersion, providers: tuple[str, ...]) -> Path | None:
        own = processor()
        if self.cache is None or own is None:
            return None
        context = (self.loader.version, self.options.providers, providers, own, self.cores)
        digest = model_digest(version, *context)
        return self.cache / "tuning" / f"{digest}.json"


def can_batch(model: LoadedModel) -> bool:
    """Whether two pictures in one run give two answers: the graph says so, and one run proves it."""
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


def _size(version: ModelVersion) -> int:
    return sum(size for _, size, _ in version.signature)


def _words(version: ModelVersion, plan: RunPlan) -> tuple[str, int, str, int]:
    return version.name, version.number, " or ".join(map(str, plan.intra_op_threads)), plan.batch


def _read(file: Path | None) -> Tuning | None:
    """None for what is missing or makes no sense: it is measured again."""
    if file is None:
        return None
    try:
        return _TUNING.validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None


def _write(file: Path | None, tuning: Tuning) -> None:
    if file is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, _TUNING.dump_json(tuning))
    except OSError as error:
        _log.warning("what was measured cannot be remembered: %s", error.strerror)
