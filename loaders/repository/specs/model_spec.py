"""The model spec: all fields of `model.toml`.

Names are those of Hugging Face's tasks and processors (`rescale_factor`), and of torchvision's interpolations.
"""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Positive = Annotated[int, Field(gt=0, le=16_384)]
Index = Annotated[int, Field(ge=0, lt=16_384)]
ByteValue = Annotated[int, Field(ge=0, le=255)]
Dtype = Literal["float32", "float16", "uint8"]
Layout = Literal["NCHW", "NHWC"]


class TaskName(StrEnum):
    """Hugging Face's names; `tensor` returns the raw outputs."""

    IMAGE_CLASSIFICATION = "image-classification"
    OBJECT_DETECTION = "object-detection"
    IMAGE_SEGMENTATION = "image-segmentation"
    IMAGE_FEATURE_EXTRACTION = "image-feature-extraction"
    KEYPOINT_DETECTION = "keypoint-detection"
    DEPTH_ESTIMATION = "depth-estimation"
    IMAGE_TO_TEXT = "image-to-text"
    TENSOR = "tensor"


class Resize(StrEnum):
    """`bounded` and `keep-aspect-ratio` make tensors of the picture's ratio, and `letterbox` if it has a divisor."""

    SHORTEST_EDGE = "shortest-edge"
    COVER = "cover"
    STRETCH = "stretch"
    LETTERBOX = "letterbox"
    LONGEST_EDGE = "longest-edge"
    BOUNDED = "bounded"
    KEEP_ASPECT_RATIO = "keep-aspect-ratio"


class Interpolation(StrEnum):
    """Those of OpenCV are not antialiased: they equal `cv2.resize` with INTER_LINEAR and INTER_CUBIC."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"
    OPENCV_LINEAR = "opencv-linear"
    OPENCV_CUBIC = "opencv-cubic"


class Rounding(StrEnum):
    """How fractions of a pixel are rounded: Hugging Face and torchvision round the long edge `down`."""

    DOWN = "down"
    NEAREST = "nearest"
    UP = "up"


class Transparency(StrEnum):
    """What is behind transparent pixels; `drop` shows the colours that they have in the file."""

    WHITE = "white"
    BLACK = "black"
    DROP = "drop"


class Color(StrEnum):
    RGB = "RGB"
    BGR = "BGR"
    GRAY = "GRAY"


class Activation(StrEnum):
    NONE = "none"
    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"


class Head(StrEnum):
    """The layout of boxes or masks, for B boxes and C classes; coordinates are in pixels of the input by default.

    Detection:
    YOLOV5        one output (N, B, 5 + C): centre x, centre y, width, height, objectness, class scores
    YOLOV8        one output (N, 4 + C, B): centre x, centre y, width, height, class scores (v8, v9, 11)
    END_TO_END    one output (N, B, 6): xmin, ymin, xmax, ymax, score, class, after NMS
    BOXES_SCORES  two outputs: boxes (N, B, 4) as corners, scores (N, C, B) or (N, B, C)
    PADDLE_NMS    rows (K, 6): class, score, xmin, ymin, xmax, ymax in pixels of the ORIGINAL picture (an input
                  has the scale), and the number of rows
    DETR          logits (N, B, C + 1), the last class meaning "no object", and boxes (N, B, 4) as centre and size in
                  fractions of the input
    RT_DETR       one output (N, B, 4 + C): centre x, centre y, width, height in fractions of the input, class scores
    RT_DETR_TOP_K one output (N, B, 6): box as in RT_DETR, score, class
    YUNET         twelve outputs: cls, obj, bbox, kps at strides 8, 16, 32
    YOLO_OBB      YOLOV8's or END_TO_END's output with an angle in radians as the last value of a box; boxes are
                  centre x, centre y, width, height in both

    Keypoints:
    YOLO_POSE     YOLOV8's or END_TO_END's output with the values of all keypoints after those of each box

    Segmentation:
    SEMANTIC      one output (N, C, h, w) of logits
    CLASS_MAP     one output (N, h, w) or (N, 1, h, w) of class ids; with a single label, 1 is its class and 0 none
    YOLO_MASKS    YOLOV8's or END_TO_END's output with 32 mask coefficients a box, and prototypes (N, 32, h, w)
    MASKFORMER    class logits (N, Q, C + 1) of Q queries, the last class meaning "no object", and mask logits
                  (N, Q, h, w)
    MASK2FORMER   MASKFORMER's outputs; masks are resized to 384 x 384 first, as in transformers
    MATTE         the first output (N, 1, h, w): the opacity of the subject in each pixel
    """

    YOLOV5 = "yolov5"
    YOLOV8 = "yolov8"
    END_TO_END = "end-to-end"
    BOXES_SCORES = "boxes-scores"
    PADDLE_NMS = "paddle-nms"
    DETR = "detr"
    RT_DETR = "rt-detr"
    RT_DETR_TOP_K = "rt-detr-top-k"
    YUNET = "yunet"
    YOLO_OBB = "yolo-obb"
    YOLO_POSE = "yolo-pose"
    SEMANTIC = "semantic"
    CLASS_MAP = "class-map"
    YOLO_MASKS = "yolo-masks"
    MASKFORMER = "maskformer"
    MASK2FORMER = "mask2former"
    MATTE = "matte"


class Subtask(StrEnum):
    """What the queries of MaskFormer and Mask2Former are combined to; names of transformers' pipeline."""

    PANOPTIC = "panoptic"
    INSTANCE = "instance"
    SEMANTIC = "semantic"


class ExtraInput(StrEnum):
    """Further inputs of a graph, as (1, 2) or (N, H, W) tensors of the input's dtype."""

    SCALE = "scale"  # (input height / original height, input width / original width): Paddle's scale_factor
    INPUT_SIZE = "input-size"  # (height, width) of the input: Paddle's im_shape
    ORIGINAL_SIZE = "original-size"  # (height, width) of the picture as sent
    MASK = "mask"  # ones where the picture is, zeros where it is padded: DETR's pixel_mask


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PreprocessSpec(_Frozen):
    """Picture to tensor. Values are `(pixel * rescale_factor - mean) / std`, with pixels of 0 to 255."""

    size: tuple[Positive, Positive] | None = Field(
        None, description="(height, width) of the tensor; taken from the graph where the graph fixes it"
    )
    resize: Resize = Field(
        Resize.SHORTEST_EDGE,
        description="shortest-edge: scaled, centre cropped; cover: scaled to cover resize_size, centre cropped; "
        "stretch: ratio ignored, cropped if resize_size or shortest_edge is set; "
        "letterbox: fitted, padded on all sides; longest-edge: fitted, padded at right and bottom; "
        "bounded: scaled to shortest_edge but at most longest_edge, which is the size of the tensor; "
        "keep-aspect-ratio: scaled to the height or the width of size, whichever changes the picture less (at most "
        "longest_edge), which is the size of the tensor",
    )
    resize_size: tuple[Positive, Positive] | None = Field(
        None, description="(height, width) before the crop: with stretch, cover and letterbox; default: size"
    )
    shortest_edge: Positive | None = Field(
        None, description="shortest edge before the crop, pixels; default: the tensor's shorter edge"
    )
    longest_edge: Positive | None = Field(None, description="with bounded: maximum of the longer edge, pixels")
    size_divisor: Positive | None = Field(
        None,
        description="the tensor's sides are multiples of it: bounded and keep-aspect-ratio resize to them, letterbox "
        "pads no more than to the next ones; for graphs that accept any size",
    )
    size_rounding: Rounding = Field(
        Rounding.DOWN, description="of sides to multiples of size_divisor: down, nearest or up"
    )
    interpolation: Interpolation = Field(
        Interpolation.BILINEAR,
        description="nearest, bilinear, bicubic or lanczos: antialiased, as Pillow's; "
        "opencv-linear or opencv-cubic: not antialiased, as OpenCV's",
    )
    resize_rounding: Rounding = Field(Rounding.DOWN, description="of the longer edge: down, nearest or up")
    crop_rounding: Rounding = Field(Rounding.DOWN, description="of the offset of a crop: down, nearest or up")
    pad_value: ByteValue | tuple[ByteValue, ByteValue, ByteValue] = Field(
        0, description="value of padding before rescaling, 0 to 255: one, or one per channel"
    )
    transparency: Transparency = Field(
        Transparency.WHITE, description="behind transparent pixels: white, black, or drop (their colour in the file)"
    )
    color: Color = Field(Color.RGB, description="channels and their order: RGB, BGR or GRAY")
    layout: Layout | None = Field(None, description="NCHW or NHWC; default: that of the graph")
    dtype: Dtype | None = Field(None, description="float32, float16 or uint8; default: that of the graph")
    rescale_factor: float = Field(1 / 255, gt=0, description="factor for pixels of 0 to 255")
    rescale_by_max: bool = Field(False, description="divide by the picture's maximum instead")
    mean: tuple[float, ...] = Field(
        (0.0,),
        description="subtracted after rescaling: one value, or one per channel; "
        "default: ImageNet's, with a warning, if rescale_factor, mean and std are unknown",
    )
    std: tuple[float, ...] = Field((1.0,), description="divisor after subtracting mean: one value, or one per channel")

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
        pad = self.pad_value if isinstance(self.pad_value, tuple) else (self.pad_value,)
        for name, values in (("mean", self.mean), ("std", self.std), ("pad_value", pad)):
            if len(values) not in (1, channels):
                raise ValueError(f"{name} has {len(values)} values; {self.color} needs 1 or {channels}")
        return self

    @property
    def channels(self) -> int:
        return 1 if self.color is Color.GRAY else 3

    @property
    def follows_picture(self) -> bool:
        """Whether the size of the tensor depends on that of the picture."""
        if self.resize is Resize.LETTERBOX:
            return self.size_divisor is not None
        return self.resize is Resize.KEEP_ASPECT_RATIO or (self.resize is Resize.BOUNDED and self.size is None)


class ModelSpec(_Frozen):
    """The data that serving a model needs in addition to its graph."""

    task: TaskName = Field(
        description="image-classification, object-detection, image-segmentation, image-feature-extraction, "
        "keypoint-detection, depth-estimation, image-to-text or tensor"
    )
    input: str | None = Field(None, description="name of the input for the picture; default: the only one")
    extra_inputs: dict[str, ExtraInput] = Field(
        default={}, description="other inputs by name: scale, input-size, original-size or mask"
    )
    outputs: tuple[str, ...] = Field((), description="names of the outputs, in the order of the task; default: all")
    head: Head | None = Field(
        None,
        description="layout of boxes or masks: yolov5, yolov8, end-to-end, boxes-scores, paddle-nms, detr, rt-detr, "
        "rt-detr-top-k, yunet, yolo-obb, yolo-pose, semantic, class-map, yolo-masks, maskformer, mask2former or matte",
    )
    subtask: Subtask = Field(
        Subtask.PANOPTIC, description="maskformer and mask2former: panoptic, instance or semantic segments"
    )
    keypoint_shape: tuple[Positive, Annotated[int, Field(ge=2, le=3)]] = Field(
        (17, 3), description="keypoints: their number, and the values of each: 2 for x and y, 3 with a score"
    )
    keypoint_names: tuple[str, ...] = Field((), description="keypoints: names in order; default: their numbers")
    skeleton: tuple[tuple[Index, Index], ...] = Field((), description="keypoints: pairs to connect, counted from 0")
    activation: Activation = Field(
        Activation.SOFTMAX, description="converts outputs to scores: softmax, sigmoid or none"
    )
    score_threshold: float = Field(0.25, ge=0, le=1, description="boxes, segments: default minimum score of a request")
    iou_threshold: float = Field(0.7, ge=0, le=1, description="boxes: maximum overlap of two boxes of a class (NMS)")
    normalize: bool = Field(False, description="embeddings: L2-normalise by default")
    labels: tuple[str, ...] = Field((), description="by class id; default: labels.txt, one a line")
    preprocess: PreprocessSpec = PreprocessSpec()

    @model_validator(mode="after")
    def _names_and_skeleton_fit(self) -> Self:
        count = self.keypoint_shape[0]
        if len(self.keypoint_names) not in (0, count):
            raise ValueError(f"keypoint_names has {len(self.keypoint_names)} names; keypoint_shape has {count} points")
        if any(index >= count for pair in self.skeleton for index in pair):
            raise ValueError(f"skeleton connects points beyond the {count} of keypoint_shape")
        return self
