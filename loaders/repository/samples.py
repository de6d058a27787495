"""Reads the samples of a model: pictures with what the model's framework answers about them.

    models/efficientnet-lite0/
      samples/
        expected.json      what the framework answered, its tolerance, and how it was made
        cat.jpg
      2/samples/           samples of one version come before those of the model
    models/yolo11n.samples/    samples of the bare file yolo11n.onnx

tools/record_samples.py writes such a folder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from loaders.model_errors import ModelSampleError
from loaders.repository.specs.model_toml import first_problem
from utils.files import read_at_most

FOLDER = "samples"
EXPECTED = "expected.json"
MAX_SAMPLES = 64
_MAX_EXPECTED_BYTES = 16 << 20
_MAX_PICTURE_BYTES = 32 << 20
_MAX_VALUES = 65_536
_RECORD = "record them with tools/record_samples.py"

Values = Annotated[tuple[float, ...], Field(min_length=1, max_length=_MAX_VALUES)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TensorSummary(_Strict):
    """A tensor's shape, and its values at positions that divide it evenly: `linspace(0, size - 1, len(values))`."""

    shape: tuple[Annotated[int, Field(ge=0)], ...]
    values: Values


class MapSummary(_Strict):
    """A mask or another map of the picture, with values scaled to 0 to 1.

    `coverage`: the mean. `grid`: the mean in each cell of a grid of the picture, row by row. `sha256`: of the bytes of
    the map as (height, width) uint8.
    """

    coverage: Annotated[float, Field(ge=0, le=1)]
    grid: Annotated[tuple[Annotated[tuple[float, ...], Field(max_length=64)], ...], Field(max_length=64)] = ()
    sha256: str | None = None

    @model_validator(mode="after")
    def _is_a_grid(self) -> Self:
        if any(len(row) != len(self.grid[0]) or not row for row in self.grid):
            raise ValueError("the rows of grid must have equal lengths")
        return self


class ExpectedBox(_Strict):
    xmin: float
    ymin: float
    xmax: float
    ymax: float


class ExpectedPrediction(_Strict):
    """One prediction of the framework, with the fields of this service's predictions.

    Its class is that of `class_id`, or without one that of `label`. `points`: (x, y) of keypoints, landmarks or the
    corners of a rotated box. `depth`: scaled from its minimum to its maximum.
    """

    class_id: Annotated[int, Field(ge=0)] | None = None
    label: str | None = None
    score: Annotated[float, Field(ge=0, le=1)] | None = None
    box: ExpectedBox | None = None
    points: tuple[tuple[float, float], ...] = ()
    mask: MapSummary | None = None
    depth: MapSummary | None = None
    generated_text: str | None = None
    embedding: Values | None = None

    @property
    def title(self) -> str:
        """Names the prediction in a report."""
        return repr(self.label) if self.label is not None else f"class {self.class_id}"


class Sample(_Strict):
    """`predictions` of None: the outputs are the answer, as in the task `tensor`.

    Otherwise `input` and `outputs` tell at which stage the tensors part, if the predictions do not agree.
    """

    file: str
    predictions: tuple[ExpectedPrediction, ...] | None = None
    input: TensorSummary | None = None
    outputs: dict[str, TensorSummary] = {}

    @field_validator("file")
    @classmethod
    def _is_a_name(cls, file: str) -> str:
        if PurePath(file).name != file or file == EXPECTED or "\\" in file or "\0" in file:
            raise ValueError(f"the name of a picture in the folder is needed, got {file!r}")
        return file

    @model_validator(mode="after")
    def _has_an_answer(self) -> Self:
        if self.predictions is None and not self.outputs:
            raise ValueError("predictions or outputs are needed")
        return self


class Made(_Strict):
    """How the samples were made."""

    framework: str
    date: str = ""
    how: str = ""
    versions: dict[str, str] = {}


class Expected(_Strict):
    """The content of expected.json.

    `tolerance`: the largest accepted difference (engine/models/sample_differences.py). `threshold`, `normalize`: as the
    options of a request.
    """

    made: Made
    tolerance: Annotated[float, Field(gt=0, le=1)]
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    normalize: bool | None = None
    samples: Annotated[tuple[Sample, ...], Field(min_length=1, max_length=MAX_SAMPLES)]


@dataclass(frozen=True, slots=True)
class SampleFolder:
    """The samples of one version. `title` is the folder's path below the models folder, for errors."""

    folder: Path
    title: str

    def read(self) -> Expected | None:
        """Returns None without expected.json. Raises ModelSampleError."""
        if not (self.folder / EXPECTED).is_file():
            return None
        text = self._bytes(EXPECTED, _MAX_EXPECTED_BYTES)
        try:
            return Expected.model_validate_json(text)
        except ValidationError as error:
            raise ModelSampleError(f"{self.title}/{EXPECTED}: {first_problem(error)}; {_RECORD}") from error

    def picture(self, sample: Sample) -> bytes:
        """Raises ModelSampleError."""
        return self._bytes(sample.file, _MAX_PICTURE_BYTES)

    def _bytes(self, name: str, most: int) -> bytes:
        path = self.folder / name
        if not path.is_file():
            raise ModelSampleError(f"{self.title}/{name} is missing, and {EXPECTED} names it; {_RECORD}")
        try:
            return read_at_most(path, most)
        except OSError as error:
            raise ModelSampleError(f"{self.title}/{name} cannot be read: {error.strerror}") from error


def samples_folder(graph: Path, folders: Sequence[Path]) -> Path | None:
    """Returns the nearest folder of samples of a graph; `folders` are those that describe it, empty for a bare file."""
    candidates = [folder / FOLDER for folder in folders] or [graph.with_suffix(f".{FOLDER}")]
    return next((folder for folder in candidates if folder.is_dir()), None)


def sample_files(graph: Path, folders: Sequence[Path]) -> list[Path]:
    """Returns the files of the graph's samples, sorted by name; they decide whether the version is served."""
    folder = samples_folder(graph, folders)
    if folder is None or not (folder / EXPECTED).is_file():
        return []
    return sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))[
        : MAX_SAMPLES + 1
    ]
