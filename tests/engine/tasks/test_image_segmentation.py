"""Masks of the original picture's size, against plain NumPy and known answers."""

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from PIL import Image

from engine.preprocessing.geometry import Frame
from engine.tasks.masks import MAX_COMPUTED_PIXELS, Region, computed_size
from engine.tasks.predictions import Box, InstanceSegment, Prediction, Segment
from engine.tasks.task import InvalidOutputError, PredictOptions
from loaders.images.base import Size
from loaders.repository.specs.model_spec import Activation, Head, ModelSpec, Resize, TaskName
from tests.engine.tasks.graphs import TARGET, Array, Thing, answer, frame_of, yolo_masks, yolo_masks_end_to_end

LABELS = ("sky", "road", "tree")

# 200 x 100 in 64 x 64: resized to 64 x 32, 16 rows of padding above and below.
LANDSCAPE = frame_of(Size(200, 100), Resize.LETTERBOX)
STRETCHED = frame_of(Size(50, 40), Resize.STRETCH)


def spec_of(head: Head, **fields: object) -> ModelSpec:
    return ModelSpec.model_validate({"task": TaskName.IMAGE_SEGMENTATION, "head": head, "labels": LABELS, **fields})


def mask_of(prediction: Prediction) -> NDArray[np.uint8]:
    """The PNG, which must be 8-bit grey."""
    assert isinstance(prediction, Segment)
    image = Image.open(BytesIO(base64.b64decode(prediction.mask)))
    assert (image.format, image.mode) == ("PNG", "L")
    return np.asarray(image)


def semantic(
    tmp_path: Path, logits: NDArray[Any], frame: Frame, top_k: int | None = None, **fields: object
) -> dict[str, NDArray[np.uint8]]:
    spec = spec_of(Head.SEMANTIC, **fields)
    predictions = answer(tmp_path, {"logits": logits[None]}, spec, frame, PredictOptions(top_k=top_k))
    return {p.label: mask_of(p) for p in predictions if isinstance(p, Segment)}


def bilinear(plane: Array, width: int, height: int) -> NDArray[np.float64]:
    """As torch's `interpolate(mode="bilinear", align_corners=False)`, in plain NumPy."""
    for axis, length in ((0, height), (1, width)):
        size = plane.shape[axis]
        at = np.clip((np.arange(length) + 0.5) * size / length - 0.5, 0, size - 1)
        low = np.floor(at).astype(int)
        share = (at - low).reshape((-1, 1) if axis == 0 else (1, -1))
        high = np.minimum(low + 1, size - 1)
        plane = np.take(plane, low, axis) * (1 - share) + np.take(plane, high, axis) * share
    return np.asarray(plane, np.float64)


@pytest.mark.parametrize("size", [Size(50, 40), Size(9, 7), Size(300, 5), Size(1, 1)])
def test_semantic_masks_compare_bilinear_logits(size: Size, tmp_path: Path) -> None:
    logits = np.random.default_rng(5).normal(size=(3, 16, 16)).astype(np.float32)
    expected = np.argmax([bilinear(plane, size.width, size.height) for plane in logits], axis=0)
    masks = semantic(tmp_path, logits, frame_of(size, Resize.STRETCH))
    assert set(masks) == {LABELS[class_id] for class_id in np.unique(expected)}
    for label, mask in masks.items():
        np.testing.assert_array_equal(mask, np.where(expected == LABELS.index(label), 255, 0))


def test_the_padding_of_a_letterbox_is_in_no_mask(tmp_path: Path) -> None:
    logits = np.zeros((3, 16, 16), np.float32)
    logits[1] = 5  # the padding, above and below
    logits[1, 4:12] = -5
    logits[0, 4:12, :8] = 5
    logits[2, 4:12, 8:] = 5
    masks = semantic(tmp_path, logits, LANDSCAPE)
    assert set(masks) == {"sky", "tree"}
    assert masks["sky"].shape == (100, 200)
    assert masks["sky"][:, :100].all()
    assert masks["tree"][:, 100:].all()


def test_pixels_that_a_crop_cut_off_are_in_no_segment(tmp_path: Path) -> None:
    logits = np.zeros((3, 8, 8), np.float32)
    logits[1] = 1
    masks = semantic(tmp_path, logits, frame_of(Size(256, 128), Resize.SHORTEST_EDGE))
    expected = np.zeros((128, 256), np.uint8)
    expected[:, 64:192] = 255
    assert set(masks) == {"road"}
    np.testing.assert_array_equal(masks["road"], expected)


def test_a_single_class_is_compared_with_even_odds(tmp_path: Path) -> None:
    logits = np.full((1, 8, 8), -1, np.float32)
    logits[:, :, 4:] = 1
    masks = semantic(tmp_path, logits, STRETCHED, labels=["crack"])
    assert masks["crack"][:, 25:].all()
    assert not masks["crack"][:, :25].any()
    assert semantic(tmp_path, -abs(logits), STRETCHED, labels=["crack"]) == {}


def test_the_largest_segment_comes_first(tmp_path: Path) -> None:
    logits = np.zeros((3, 8, 8), np.float32)
    logits[2] = 1
    logits[0, :, :3] = 2
    assert list(semantic(tmp_path, logits, STRETCHED)) == ["tree", "sky"]
    assert list(semantic(tmp_path, logits, STRETCHED, top_k=1)) == ["tree"]


def test_a_huge_picture_has_masks_of_its_size(tmp_path: Path) -> None:
    logits = np.zeros((3, 8, 8), np.float32)
    logits[1, :, 4:] = 1
    masks = semantic(tmp_path, logits, frame_of(Size(8000, 5000), Resize.STRETCH))
    assert {mask.shape for mask in masks.values()} == {(5000, 8000)}
    assert masks["road"][:, 4100:].all()
    assert computed_size(Region(0, 0, 8000, 5000)).pixels <= MAX_COMPUTED_PIXELS


@pytest.mark.parametrize("size", [Size(100_000, 1), Size(1, 100_000), Size(1, 1)])
def test_a_strip_of_a_picture_has_a_mask(size: Size, tmp_path: Path) -> None:
    for resize in (Resize.STRETCH, Resize.LETTERBOX, Resize.SHORTEST_EDGE):
        masks = semantic(tmp_path, np.ones((3, 8, 8), np.float32), frame_of(size, resize))
        assert masks["sky"].shape == (size.height, size.width)


def test_logits_with_nan_are_rejected(tmp_path: Path) -> None:
    logits = np.zeros((3, 8, 8), np.float32)
    logits[2, 3, 3] = np.nan
    with pytest.raises(InvalidOutputError, match="finite"):
        semantic(tmp_path, logits, STRETCHED)


# The first prototype is positive on the left half of the input, the second on the upper half.
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_a_class_map_is_enlarged_by_repeating_pixels(tmp_path: Path, dtype: str) -> None:
    """200 x 100 fills rows 4 to 12 of 16."""
    plane = np.full((16, 16), 2)
    plane[4:12, :4] = 1
    predictions = answer(tmp_path, {"classes": plane[None].astype(dtype)}, spec_of(Head.CLASS_MAP), LANDSCAPE)
    masks = {p.label: mask_of(p) for p in predictions if isinstance(p, Segment)}
    assert list(masks) == ["tree", "road"]
    np.testing.assert_array_equal(masks["road"], np.where(np.arange(200) < 50, 255, 0) * np.ones((100, 1)))


def test_a_class_map_of_one_label_has_0_for_none(tmp_path: Path) -> None:
    plane = np.zeros((1, 64, 64), np.uint8)
    plane[:, :, 32:] = 1
    (found,) = answer(tmp_path, {"classes": plane}, spec_of(Head.CLASS_MAP, labels=("road",)), STRETCHED)
    assert isinstance(found, Segment)
    assert (found.label, found.class_id) == ("road", 0)
    assert not mask_of(found)[:, :25].any()
    assert mask_of(found)[:, 25:].all()


PROTOTYPES = np.full((2, 16, 16), -1, np.float32)
PROTOTYPES[0, :, :8] = 1
PROTOTYPES[1, :8] = 1
THING = Thing((16, 24, 48, 40), 1, 0.9)
FAINT = Thing((0, 24, 8, 40), 2, 0.1)
LEFT, UPPER = (4.0, 0.0), (0.0, 4.0)
LAY_OUT = {"yolov8": yolo_masks, "end to end": yolo_masks_end_to_end}


@pytest.mark.parametrize("layout", LAY_OUT)
@pytest.mark.parametrize(
    ("coefficients", "rows", "columns"), [(LEFT, (25, 75), (50, 100)), (UPPER, (25, 50), (50, 150))]
)
def test_an_instance_mask_is_clipped_to_its_box_and_mapped_to_the_picture(
    layout: str, coefficients: tuple[float, float], rows: tuple[int, int], columns: tuple[int, int], tmp_path: Path
) -> None:
    outputs = LAY_OUT[layout]([THING, FAINT], np.array([coefficients, LEFT], np.float32), PROTOTYPES)
    (segment,) = answer(tmp_path, outputs, spec_of(Head.YOLO_MASKS), LANDSCAPE)
    assert isinstance(segment, InstanceSegment)
    assert (segment.label, segment.class_id, segment.box) == ("road", 1, Box(50, 25, 150, 75))
    assert segment.score == pytest.approx(0.9, abs=1e-6)
    expected = np.zeros((100, 200), np.uint8)
    expected[slice(*rows), slice(*columns)] = 255
    np.testing.assert_array_equal(mask_of(segment), expected)


def test_overlapping_instances_of_a_class_are_suppressed(tmp_path: Path) -> None:
    twice = [THING, Thing((16, 24, 48, 39), 1, 0.8), Thing(THING.box, 0, 0.7)]
    outputs = yolo_masks(twice, np.array([LEFT, LEFT, UPPER], np.float32), PROTOTYPES)
    found = answer(tmp_path, outputs, spec_of(Head.YOLO_MASKS), LANDSCAPE)
    assert [p.label for p in found if isinstance(p, Segment)] == ["road", "sky"]
    assert len(answer(tmp_path, outputs, spec_of(Head.YOLO_MASKS), LANDSCAPE, PredictOptions(top_k=1))) == 1


def test_no_instances_are_an_empty_list(tmp_path: Path) -> None:
    outputs = yolo_masks([FAINT], np.array([LEFT], np.float32), PROTOTYPES)
    assert answer(tmp_path, outputs, spec_of(Head.YOLO_MASKS), LANDSCAPE) == []


def test_instance_masks_equal_the_resized_map(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    prototypes, coefficients = (
        rng.normal(size=(8, 16, 16)).astype(np.float32),
        rng.normal(size=(1, 8)).astype(np.float32),
    )
    outputs = yolo_masks([THING], coefficients, prototypes)
    (segment,) = answer(tmp_path, outputs, spec_of(Head.YOLO_MASKS), LANDSCAPE)
    whole = bilinear(np.tensordot(coefficients, prototypes, axes=1)[0, 4:12], 200, 100) > 0
    inside = (slice(25, 75), slice(50, 150))
    np.testing.assert_array_equal(mask_of(segment)[inside], np.where(whole[inside], 255, 0))


def matte(tmp_path: Path, values: NDArray[Any], frame: Frame, **fields: object) -> NDArray[np.uint8]:
    (segment,) = answer(tmp_path, {"matte": values[None, None]}, spec_of(Head.MATTE, **{"labels": (), **fields}), frame)
    assert isinstance(segment, Segment)
    assert (segment.label, segment.class_id, segment.score) == ("foreground", 0, None)
    return mask_of(segment)


def test_a_matte_is_scaled_and_resized_as_in_rembg(tmp_path: Path) -> None:
    values = np.random.default_rng(1).uniform(0.2, 0.7, (32, 32)).astype(np.float32)
    grey = ((values - values.min()) / (values.max() - values.min()) * 255).astype(np.uint8)
    expected = np.asarray(Image.fromarray(grey).resize((50, 40), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(matte(tmp_path, values, STRETCHED), expected)


def test_a_constant_matte_is_empty(tmp_path: Path) -> None:
    assert not matte(tmp_path, np.full((8, 8), 0.3, np.float32), STRETCHED).any()


def test_a_matte_with_sigmoid_activation(tmp_path: Path) -> None:
    values = np.array([[-20, 0], [20, 20]], np.float32)
    grey = matte(tmp_path, values, frame_of(Size(2, 2), Resize.STRETCH), activation=Activation.SIGMOID)
    np.testing.assert_array_equal(grey, [[0, 127], [255, 255]])


def test_the_padding_of_a_matte_is_cut_off(tmp_path: Path) -> None:
    values = np.zeros((TARGET.height, TARGET.width), np.float32)
    values[16:48] = 1
    grey = matte(tmp_path, values, LANDSCAPE)
    assert grey.shape == (100, 200)
    assert (grey == 255).all()


def test_json_of_segments_has_the_names_of_hugging_face(tmp_path: Path) -> None:
    outputs = yolo_masks([THING], np.array([LEFT], np.float32), PROTOTYPES)
    (instance,) = orjson.loads(orjson.dumps(answer(tmp_path, outputs, spec_of(Head.YOLO_MASKS), LANDSCAPE)))
    assert set(instance) == {"label", "class_id", "score", "mask", "box"}
    logits = {"logits": np.zeros((1, 3, 8, 8), np.float32)}
    (sky,) = orjson.loads(orjson.dumps(answer(tmp_path, logits, spec_of(Head.SEMANTIC), LANDSCAPE)))
    assert set(sky) == {"label", "class_id", "score", "mask"}
    assert sky["score"] is None
