"""What a model is and how its pictures are prepared: the fields of `model.toml`, all of them.

The words are the field's own: Hugging Face's tasks and processor fields (`rescale_factor`, `do_center_crop`'s crop),
torchvision's and Pillow's interpolations.
"""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Positive = Annotated[int, Field(gt=0, le=16_384)]
ByteValue = Annotated[int, Field(ge=0, le=255)]
Dtype = Literal["float32", "float16", "uint8"]
Layout = Literal["NCHW", "NHWC"]


class TaskName(StrEnum):
    IMAGE_CLASSIFICATION = "image-classification"


class Resize(StrEnum):
    SHORTEST_EDGE = "shortest-edge"
    STRETCH = "stretch"
    LETTERBOX = "letterbox"
    LONGEST_EDGE = "longest-edge"


class Interpolation(StrEnum):
    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


class Rounding(StrEnum):
    """Where half a pixel goes: Hugging Face and torchvision cut the long edge `down`; others take the `nearest`."""

    DOWN = "down"
    NEAREST = "nearest"


class Color(StrEnum):
    RGB = "RGB"
    BGR = "BGR"
    GRAY = "GRAY"


class Activation(StrEnum):
    NONE = "none"
    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PreprocessSpec(_Frozen):
    """Picture -> tensor. A tensor's value is `(pixel * rescale_factor - mean) / std`, with pixels of 0 to 255."""

    size: tuple[Positive, Positive] | None = Field(
        None, description="(height, width) of the tensor; taken from the graph where the graph fixes it"
    )
    resize: Resize = Field(
        Resize.SHORTEST_EDGE,
        description="shortest-edge: the centre is cropped; stretch: the ratio is lost; "
        "letterbox: fitted, padded all around; longest-edge: fitted, padded right and below",
    )
    shortest_edge: Positive | None = Field(
        None, description="the shortest edge before the crop, pixels; default: the tensor's own shorter edge"
    )
    interpolation: Interpolation = Field(
        Interpolation.BILINEAR, description="nearest, bilinear, bicubic or lanczos; antialiased, as Pillow's"
    )
    resize_rounding: Rounding = Field(Rounding.DOWN, description="of the longer edge's length")
    crop_rounding: Rounding = Field(Rounding.DOWN, description="of the crop's or the picture's offset")
    pad_value: ByteValue = Field(0, description="what pads, before rescaling, 0 to 255")
    color: Color = Field(Color.RGB, description="the order of the channels: RGB, BGR or GRAY")
    layout: Layout | None = Field(None, description="NCHW or NHWC; default: what the graph tells")
    dtype: Dtype | None = Field(None, description="float32, float16 or uint8; default: what the graph tells")
    rescale_factor: float = Field(1 / 255, gt=0, description="a pixel of 0 to 255 is multiplied by this first")
    mean: tuple[float, ...] = Field((0.0,), description="then this is subtracted: one value, or one a channel")
    std: tuple[float, ...] = Field((1.0,), description="then it is divided by this: one value, or one a channel")

    @field_validator("std")
    @classmethod
    def _std_is_positive(cls, std: tuple[float, ...]) -> tuple[float, ...]:
        if not all(value > 0 for value in std):
            raise ValueError("every value must be greater than 0")
        return std

    @model_validator(mode="after")
    def _one_value_or_one_a_channel(self) -> Self:
        channels = self.channels
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):
                raise ValueError(f"{name} has {len(values)} values; {self.color} needs 1 or {channels}")
        return self

    @property
    def channels(self) -> int:
        return 1 if self.color is Color.GRAY else 3


class ModelSpec(_Frozen):
    """All that serving a model takes beside its graph."""

    task: TaskName = Field(description="image-classification")
    input: str | None = Field(None, description="the graph's input for the picture; default: its only one")
    output: str | None = Field(None, description="the graph's output to read; default: its first")
    activation: Activation = Field(
        Activation.SOFTMAX, description="what turns the output into scores: softmax, sigmoid or none"
    )
    labels: tuple[str, ...] = Field((), description="by class id; default: labels.txt, one a line")
    preprocess: PreprocessSpec = PreprocessSpec()
