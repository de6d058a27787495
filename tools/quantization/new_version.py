"""Makes the 8-bit version of a model, as a separate folder or as the next version."""

import shutil
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter

from engine.models.load import load_model
from engine.models.loaded_model import LoadedModel
from engine.tasks.task import MAX_TOP_K, InvalidOutputError, PredictOptions
from loaders.image_loader import create_image_loader
from loaders.images.base import ImageLoader
from loaders.model_errors import ModelError
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import Catalog, ModelVersion
from loaders.repository.model_state import ModelStateFile
from loaders.repository.specs.model_spec import TaskName
from loaders.repository.staged_version import GRAPH, SPEC, StagedVersion
from loaders.runtimes.base import SessionOptions
from tools.quantization.agreement import MAIN_MEASURE, Measures, compare, summarise
from tools.quantization.calibration import Pictures
from tools.quantization.int8_graph import QuantizationError, Settings, may_overflow, write_int8
from tools.quantization.report import Report
from tools.quantization.samples import copy_samples

_DESCRIBING = (".toml", ".json", ".txt", ".csv", ".names")
_TIMED_PICTURES = 24
# The main measure that is good enough, and the shares of float layers that are tried until it is reached.
GOOD = 0.95
_FLOAT_FIRST = (0.0, 0.25, 0.5)
_FLOAT_LAST = {TaskName.OBJECT_DETECTION: 2, TaskName.IMAGE_SEGMENTATION: 2, TaskName.TENSOR: 2}
_ALL = PredictOptions(top_k=MAX_TOP_K)
_OWN_THRESHOLD = PredictOptions()


def quantize_into(
    version: ModelVersion, pictures: Sequence[Path], folder: Path, image_loader: ImageLoader | None = None
) -> Report:
    """Writes a model into `folder`, which must not exist: graph, spec, labels and quantization.json.

    Raises QuantizationError, ModelError for a model that does not load, OSError. The folder is removed then.
    """
    if folder.exists():
        raise QuantizationError(f"{folder} exists already")
    folder.mkdir(parents=True)
    try:
        _copy(_describing(version), folder)
        return _make(version, pictures, (folder,), image_loader)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def add_version(
    models: Path, catalog: Catalog, name: str, pictures: Sequence[Path], image_loader: ImageLoader | None = None
) -> tuple[int, Report]:
    """The number of the new version of that model. It does not become active: the one that was stays so, by name.

    Raises UnknownModelError, and as `quantize_into`.
    """
    state = ModelStateFile(models)
    version = state.read().version(catalog, name)
    if not version.numbered:
        raise QuantizationError(
            f"{name} has no version folders ({name}/1/{GRAPH}), so a version cannot be added; use OUT=folder"
        )
    staged = StagedVersion.create(models)
    try:
        _copy(_describing(version, own=True), staged.folder)
        report = _make(version, pictures, (staged.folder, models / name), image_loader)
        with state.locked():
            # without an active version, the new one would be served as the highest
            state.update(lambda choices: choices.active.update({name: version.number}))
            return staged.install(models / name), report
    finally:
        staged.discard()


def _make(
    version: ModelVersion, paths: Sequence[Path], folders: tuple[Path, ...], image_loader: ImageLoader | None
) -> Report:
    """Makes the model in the first of `folders`, which all describe it."""
    folder = folders[0]
    before, loader = _load(version), image_loader or create_image_loader("opencv")
    pictures = Pictures(paths, loader, before)
    with tempfile.TemporaryDirectory(prefix="fovea-") as work_dir:
        best = _best(before, _attempts(version, before, pictures, Path(work_dir), folders))
        shutil.copyfile(best.model, folder / GRAPH)
    after = _load(ModelVersion(version.name, version.number, folder / GRAPH, folders))
    copy_samples(version, after, folder, loader)
    ms_before, ms_after = _time(before, after, pictures)
    report = Report(
        model=version.name,
        made_from_version=version.number,
        task=before.spec.task,
        pictures=len(pictures),
        unreadable=pictures.unreadable,
        agreement=best.agreement,
        bytes_before=_weight(version),
        bytes_after=(folder / GRAPH).stat().st_size,
        ms_before=ms_before,
        ms_after=ms_after,
        weight_bits=7 if best.settings.reduce_range else 8,
        float_first=best.settings.float_first,
        float_last=best.settings.float_last,
        runtime=create_model_loader("onnxruntime").version,
    )
    report.write(folder)
    return report


@dataclass(frozen=True, slots=True)
class _Attempt:
    model: Path
    settings: Settings
    agreement: Measures


def _attempts(
    version: ModelVersion, before: LoadedModel, pictures: Pictures, work_dir: Path, folders: tuple[Path, ...]
) -> Iterator[_Attempt]:
    last = _FLOAT_LAST.get(before.spec.task, 0)
    for first in _FLOAT_FIRST:
        settings, graph = Settings(first, last, may_overflow()), work_dir / f"{first}.onnx"
        write_int8(version.graph, graph, (inputs for inputs, _ in pictures), settings)
        try:
            after = _load(ModelVersion(version.name, version.number, graph, folders))
        except ModelError as error:
            raise QuantizationError(f"the quantised model cannot be loaded: {error}") from error
        yield _Attempt(graph, settings, _compare(before, after, pictures))


def _best(before: LoadedModel, attempts: Iterator[_Attempt]) -> _Attempt:
    """The first attempt that is good enough, else the best. The first if the main measure does not apply."""
    main, best = MAIN_MEASURE[before.spec.task], next(attempts)
    for attempt in attempts if best.agreement.get(main, 1.0) < GOOD else ():
        if attempt.agreement.get(main, 0.0) > best.agreement.get(main, 0.0):
            best = attempt
        if best.agreement.get(main, 0.0) >= GOOD:
            break
    return best


def _load(version: ModelVersion) -> LoadedModel:
    return load_model(version, create_model_loader("onnxruntime"), SessionOptions())


def _compare(before: LoadedModel, after: LoadedModel, pictures: Pictures) -> Measures:
    task = before.spec.task
    options = _ALL if task is TaskName.IMAGE_CLASSIFICATION else _OWN_THRESHOLD
    measures = []
    for inputs, frame in pictures:
        try:
            old, new = (m.task.postprocess(m.session.run(inputs), frame, options) for m in (before, after))
        except InvalidOutputError as error:
            raise QuantizationError(f"the quantised model gives invalid outputs: {error}") from error
        measures.append(compare(task, old, new))
    return summarise(measures)


def _time(before: LoadedModel, after: LoadedModel, pictures: Pictures) -> tuple[float, float]:
    """Medians in ms. The models run alternately, so that other load affects both."""
    times: tuple[list[float], list[float]] = ([], [])
    for inputs, _ in islice(pictures, _TIMED_PICTURES):
        for model, taken in zip((before, after), times, strict=True):
            model.session.run(inputs)
            started = perf_counter()
            model.session.run(inputs)
            taken.append((perf_counter() - started) * 1e3)
    return round(statistics.median(times[0]), 3), round(statistics.median(times[1]), 3)


def _weight(version: ModelVersion) -> int:
    samples = version.samples.folder if version.samples else None
    files = [(Path(path), size) for path, size, _ in version.signature]
    graph_files = [size for path, size in files if path.suffix not in _DESCRIBING and path.parent != samples]
    return sum(graph_files) or version.graph.stat().st_size


def _describing(version: ModelVersion, *, own: bool = False) -> dict[str, Path]:
    """The files that describe a model, by name. `own`: without those that all its versions share."""
    if not version.folders:
        spec = version.graph.with_suffix(".toml")
        return {SPEC: spec} if spec.is_file() else {}
    folders = version.folders[:-1] if own else version.folders
    files = (file for folder in reversed(folders) for file in sorted(folder.iterdir()) if file.is_file())
    return {file.name: file for file in files if file.suffix in _DESCRIBING or file.name.startswith("LICENSE")}


def _copy(files: dict[str, Path], folder: Path) -> None:
    for name, file in files.items():
        shutil.copyfile(file, folder / name)
