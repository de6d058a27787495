"""The cells of the benchmark: a model, photos, a kind of body and a load."""

from dataclasses import dataclass
from typing import Literal

Model = Literal["default", "int8", "no-cost"]
Photos = Literal["photo", "mixed", "12-megapixel"]
Body = Literal["multipart", "raw", "batch"]

BATCH_PICTURES = 64


@dataclass(frozen=True, slots=True)
class Workload:
    """`everyone`: peers are measured, too. `pictures`: number in one request."""

    name: str
    model: Model
    photos: Photos
    body: Body = "multipart"
    everyone: bool = True

    @property
    def loop_name(self) -> str:
        """The name of the bare loop that does the same work without HTTP, whatever the request's body is."""
        return f"{self.model}, {self.photos}"

    @property
    def pictures(self) -> int:
        return BATCH_PICTURES if self.body == "batch" else 1


@dataclass(frozen=True, slots=True)
class Load:
    """Closed: `value` connections that each send a request after an answer. Open: requests arrive at a fixed rate, the
    share `value` of the limit."""

    kind: Literal["closed", "open"]
    value: float

    @property
    def name(self) -> str:
        return f"{self.value:g} conn." if self.kind == "closed" else f"open {self.value:.0%}"


@dataclass(frozen=True, slots=True)
class Cell:
    workload: Workload
    load: Load


DEFAULT = Workload("default model", "default", "photo")
MIXED = Workload("default model, mixed photos", "default", "mixed")
BIG = Workload("default model, 12-megapixel photo", "default", "12-megapixel")
INT8 = Workload("int8 twin", "int8", "photo")
NO_COST = Workload("no-cost model", "no-cost", "photo")
NO_COST_RAW = Workload("no-cost model, raw body", "no-cost", "photo", "raw", everyone=False)
BATCH = Workload(f"default model, batch of {BATCH_PICTURES}", "default", "photo", "batch", everyone=False)

ONE, TWO, EIGHT, MANY = (Load("closed", n) for n in (1, 2, 8, 32))
HALF, MOST, NEARLY_ALL = (Load("open", share) for share in (0.5, 0.7, 0.9))

FULL = (
    *(Cell(DEFAULT, load) for load in (ONE, TWO, EIGHT, MANY, HALF, MOST, NEARLY_ALL)),
    Cell(MIXED, EIGHT),
    Cell(BIG, ONE),
    Cell(BIG, EIGHT),
    Cell(BATCH, ONE),
    Cell(INT8, ONE),
    Cell(INT8, EIGHT),
    Cell(NO_COST, ONE),
    Cell(NO_COST, EIGHT),
    Cell(NO_COST_RAW, EIGHT),
)

QUICK = (
    Cell(DEFAULT, ONE),
    Cell(DEFAULT, EIGHT),
    Cell(DEFAULT, MOST),
    Cell(BIG, EIGHT),
    Cell(BATCH, ONE),
    Cell(INT8, EIGHT),
    Cell(NO_COST, EIGHT),
    Cell(NO_COST_RAW, EIGHT),
)
