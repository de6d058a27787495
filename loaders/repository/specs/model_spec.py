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
    """Hugging Face's names; `tensor` gives a graph's outputs as they are."""

    IMAGE_CLASSIFICATION = "image-classification"
    OBJECT_DETECTION = "object-detection"
    IMAGE_SEGMENTATION = "image-segmentation"
    IMAGE_FEATURE_EXTRACTION = "image-feature-extraction"
    TENSOR = "tensor"


class Resize(StrEnum):
    SHORTEST_EDGE = "shortest-edge"
    STRETCH = "stretch"
    LETTERBOX = "letterbox"
    LONGEST_EDGE = "longest-edge"
    BOUNDED = "bounded"


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


class Head(StrEnum):
    """How a graph lays out its boxes or masks; B boxes, C classes, coordinates in the input's pixels unless said.

    Detection:
    YOLOV5        one output (N, B, 5 + C): centre x, centre y, width, height, objectness, class scores
    YOLOV8        one output (N, 4 + C, B): centre x, centre y, width, height, class scores (v8, v9, 11)
    END_TO_END    one output (N, B, 6): xmin, ymin, xmax, ymax, score, class; nothing is left to suppress
    BOXES_SCORES  two outputs: boxes (N, B, 4) as corners, scores (N, C, B) or (N, B, C)
    PADDLE_NMS    rows (K, 6): class, score, xmin, ymin, xmax, ymax in the ORIGINAL picture's pixels (the graph is
                  told the scale), and the number of rows
    DETR          logits (N, B, C + 1), the last class meaning "nothing", and boxes (N, B, 4) as centre and size in
                  fractions of the input
    YUNET         twelve outputs: cls, obj, bbox, kps at strides 8, 16, 32

    Segmentation:
    SEMANTIC      one output (N, C, h, w) of logits
    YOLO_MASKS    YOLOV8's output with 32 mask coefficients a box, and prototypes (N, 32, h, w)
    MATTE         the first output (N, 1, h, w): how much each pixel belongs to the subject
    """

    YOLOV5 = "yolov5"
    YOLOV8 = "yolov8"
    END_TO_END = "end-to-end"
    BOXES_SCORES = "boxes-scores"
    PADDLE_NMS = "paddle-nms"
    DETR = "detr"
    YUNET = "yunet"
    SEMANTIC = "semantic"
    YOLO_MASKS = "yolo-masks"
    MATTE = "matte"


class ExtraInput(StrEnum):
    """What a graph may want to know beside the picture, as (1, 2) or (N, H, W) tensors of its own dtype."""

    SCALE = "scale"  # (input height / original height, input width / original width): Paddle's scale_factor
    INPUT_SIZE = "input-size"  # (height, width) of the input: Paddle's im_shape
    ORIGINAL_SIZE = "original-size"  # (height, width) of the picture as sent
    MASK = "mask"  # ones where the picture is, zeros where it is padded: DETR's pixel_mask


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PreprocessSpec(_Frozen):
    """Picture -> tensor. A tensor's value is `(pixel * rescale_factor - mean) / std`, with pixels of 0 to 255."""

    size: tuple[Positive, Positive] | None = Field(
        None, description="(height, width) of the tensor; taken from the graph where the graph fixes it"
    )
    resize: Resize = Field(
        Resize.SHORTEST_EDGE,
        description="shortest-edge: the centre is cropped; stretch: the ratio is lost, cropped if shortest_edge says; "
        "letterbox: fitted, padded all around; longest-edge: fitted, padded right and below; "
        "bounded: scaled to shortest_edge and no further than longest_edge, the tensor takes that size",
    )
    shortest_edge: Positive | None = Field(
        None, description="the shortest edge before the crop, pixels; default: the tensor's own shorter edge"
    )
    longest_edge: Positive | None = Field(None, description="with bounded: the most pixels of the longer edge")
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
    rescale_by_max: bool = Field(False, description="a pixel is divided by the picture's brightest value instead")
    mean: tuple[float, ...] = Field(
        (0.0,),
        description="then this is subtracted: one value, or one a channel; "
        "ImageNet's, with a warning, where nothing says rescale_factor, mean or std",
    )
    std: tuple[float, ...] = Field((1.0,), description="then it is divided by this: one value, or one a channel")

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _one_value_alone(cls, value: object) -> object:
        return (value,) if isinstance(value, int | float) and not isinstance(value, bool) else value

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

    task: TaskName = Field(
        description="image-classification, object-detection, image-segmentation, image-feature-extraction or tensor"
    )
    input: str | None = Field(None, description="the graph's input for the picture; default: its only one")
    extra_inputs: dict[str, ExtraInput] = Field(
        default={}, description="other inputs by name: scale, input-size, original-size or mask"
    )
    outputs: tuple[str, ...] = Field(
        (), description="the graph's outputs to read, in the order the task wants them; default: its own"
    )
    head: Head | None = Field(
        None,
        description="layout of boxes or masks: yolov5, yolov8, end-to-end, boxes-scores, paddle-nms, detr, yunet, "
        "semantic, yolo-masks or matte",
    )
    activation: Activation = Field(
        Activation.SOFTMAX, description="what turns the output into scores: softmax, sigmoid or none"
    )
    score_threshold: float = Field(0.25, ge=0, le=1, description="boxes: least score, when a request does not say")
    iou_threshold: float = Field(0.7, ge=0, le=1, description="boxes: of two that overlap more, the better one stays")
    normalize: bool = Field(False, description="embeddings: L2-normalise, when a request does not say")
    labels: tuple[str, ...] = Field((), description="by class id; default: labels.txt, one a line")
    preprocess: PreprocessSpec = PreprocessSpec()
