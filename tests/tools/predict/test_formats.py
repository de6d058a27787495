"""`--format`: the files of all results, for the tasks that they can hold."""

import csv
import json
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.command_line import CommandLine
from tests.tools.predict.conftest import HEIGHT, LABELS, WIDTH
from tools.predict.formats import masks, write


def printed(command: CommandLine, *arguments: object) -> Any:  # noqa: ANN401 - JSON
    done = command(*arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def decoded(counts: str, height: int, width: int) -> masks.Mask:
    """COCO's `rleFrString`, written down from its description."""
    lengths: list[int] = []
    at = 0
    while at < len(counts):
        value, shift = 0, 0
        while True:
            bits = ord(counts[at]) - 48
            value |= (bits & 0x1F) << shift
            shift, at = shift + 5, at + 1
            if not bits & 0x20:
                value -= (1 << shift) if bits & 0x10 else 0
                break
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return flat.reshape(width, height).T


@pytest.mark.parametrize("seed", range(6))
def test_run_lengths_are_those_of_coco(seed: int) -> None:
    random = np.random.default_rng(seed)
    height, width = random.integers(1, 90, 2)
    mask = np.kron(random.random((height, width)) > random.random(), np.ones((1, 1 + seed * 9))).astype(bool)
    np.testing.assert_array_equal(decoded(masks.run_lengths(mask), *mask.shape), mask)


@pytest.mark.parametrize("value", [False, True])
def test_run_lengths_of_a_mask_of_one_value(value: bool) -> None:
    mask = np.full((3, 5), value)
    np.testing.assert_array_equal(decoded(masks.run_lengths(mask), 3, 5), mask)


def test_json_is_a_list_of_the_lines_of_ndjson(command: CommandLine, photos: Path) -> None:
    lines = [json.loads(line) for line in command(photos, "--format", "ndjson").stdout.splitlines()]
    assert printed(command, photos, "--format", "json") == lines
    assert lines[0].keys() == {"model", "image", "predictions"}
    with_times = json.loads(command(photos / "a.jpg", "--json").stdout)
    assert with_times.keys() == {"model", "image", "predictions", "timings_ms"}


def test_csv_has_a_row_for_each_prediction(command: CommandLine, photos: Path) -> None:
    rows = list(csv.DictReader(StringIO(command(photos, "--format", "csv", "--model", "boxes").stdout)))
    assert [row["label"] for row in rows] == ["cat", "red, or green"] * 3
    assert (rows[0]["xmin"], rows[0]["ymin"], rows[0]["xmax"], rows[0]["ymax"]) == ("16.0", "24.0", "80.0", "72.0")
    nothing = list(
        csv.DictReader(StringIO(command(photos, "--format", "csv", "--classes", "dog", "--model", "boxes").stdout))
    )
    assert [(row["label"], row["width"]) for row in nothing] == [("", str(WIDTH))] * 3


def test_coco_has_images_categories_and_boxes_with_scores(command: CommandLine, photos: Path) -> None:
    found = printed(command, photos, "--format", "coco", "--model", "boxes")
    assert [image["file_name"] for image in found["images"]] == ["a.jpg", "b.png", "sub/c.webp"]
    assert found["categories"] == [{"id": number, "name": label} for number, label in enumerate(LABELS)]
    first = found["annotations"][0]
    assert first == {
        "id": 1, "image_id": 1, "category_id": 0, "score": pytest.approx(0.9),
        "bbox": [16.0, 24.0, 64.0, 48.0], "area": 3072.0, "iscrowd": 0,
    }  # fmt: skip
    assert [each["image_id"] for each in found["annotations"]] == [1, 1, 2, 2, 3, 3]


def test_coco_has_masks_as_run_lengths(command: CommandLine, photos: Path) -> None:
    found = printed(command, photos / "b.png", "--format", "coco", "--model", "masks")
    (annotation,) = found["annotations"]
    assert annotation["segmentation"]["size"] == [HEIGHT, WIDTH]
    mask = decoded(annotation["segmentation"]["counts"], HEIGHT, WIDTH)
    answer = json.loads(command(photos / "b.png", "--json", "--model", "masks").stdout)["predictions"][0]
    np.testing.assert_array_equal(mask, masks.decode(answer["mask"]))
    assert annotation["area"] == mask.sum() > 0


def test_coco_has_keypoints_and_corners(command: CommandLine, photos: Path) -> None:
    (pose,) = printed(command, photos / "b.png", "--format", "coco", "--model", "pose")["annotations"]
    assert pose["keypoints"] == [60.0, 45.0, 2, 68.0, 51.0, 2]
    assert pose["num_keypoints"] == 2
    (box,) = printed(command, photos / "b.png", "--format", "coco", "--model", "obb")["annotations"]
    assert len(box["segmentation"][0]) == 8


def test_yolo_has_labels_that_trainers_read(command: CommandLine, photos: Path, tmp_path: Path) -> None:
    def line(model: str) -> str:
        command(photos, "--format", "yolo", "--model", model, "--save", tmp_path / model)
        return (tmp_path / model / "labels" / "sub" / "c.txt").read_text()

    assert line("boxes").splitlines() == [
        "0 0.375000 0.500000 0.500000 0.500000", "2 0.703125 0.250000 0.468750 0.437500"
    ]  # fmt: skip
    assert (tmp_path / "boxes/classes.txt").read_text().splitlines() == list(LABELS)
    assert line("pose") == "0 0.500000 0.500000 0.250000 0.250000 0.468750 0.468750 2 0.531250 0.531250 2\n"
    assert len(line("obb").split()) == 9
    polygon = np.array(line("masks").split()[1:], float).reshape(-1, 2)
    assert (polygon.min(axis=0) >= 0).all()
    assert (polygon.max(axis=0) <= 1).all()
    assert len(polygon) >= 4


def test_yolo_labels_of_pictures_with_one_stem_are_kept_apart(
    command: CommandLine, photos: Path, tmp_path: Path
) -> None:
    (photos / "a.png").write_bytes((photos / "b.png").read_bytes())
    command(photos, "--format", "yolo", "--model", "boxes", "--save", tmp_path / "out")
    names = {file.name for file in (tmp_path / "out/labels").glob("*.txt")}
    assert names == {"a.txt", "a.png.txt", "b.txt"}


def test_label_studio_has_tasks_in_per_cent_with_scores(command: CommandLine, photos: Path) -> None:
    tasks = printed(command, photos, "--format", "labelstudio", "--model", "boxes")
    assert [task["data"]["image"] for task in tasks] == [
        f"/data/local-files/?d={name}" for name in ("a.jpg", "b.png", "sub/c.webp")
    ]
    (prediction,) = tasks[0]["predictions"]
    assert prediction["model_version"] == "boxes:1"
    assert prediction["score"] == pytest.approx(0.75)
    first = prediction["result"][0]
    assert first["value"] == {
        "x": 12.5, "y": 25.0, "width": 50.0, "height": 50.0, "rotation": 0.0, "rectanglelabels": ["cat"],
    }  # fmt: skip
    assert (first["type"], first["original_width"], first["original_height"]) == ("rectanglelabels", WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("model", "types"),
    [
        ("colour", {"choices"}),
        ("pose", {"rectanglelabels", "keypointlabels"}),
        ("masks", {"polygonlabels"}),
        ("text", {"textarea"}),
    ],
)
def test_label_studio_has_a_kind_of_region_for_each_task(
    command: CommandLine, photos: Path, model: str, types: set[str]
) -> None:
    tasks = printed(command, photos / "b.png", "--format", "labelstudio", "--model", model)
    regions = tasks[0]["predictions"][0]["result"]
    assert {region["type"] for region in regions} == types
    assert all(region["type"] in region["value"] or region["type"] == "textarea" for region in regions)
    assert len({region["id"] for region in regions}) == len(regions)


def test_a_rotated_box_is_turned_around_its_corner(command: CommandLine, photos: Path) -> None:
    (task,) = printed(command, photos / "b.png", "--format", "labelstudio", "--model", "obb")
    value = task["predictions"][0]["result"][0]["value"]
    (answer,) = json.loads(command(photos / "b.png", "--json", "--model", "obb").stdout)["predictions"]
    width, height = value["width"] * WIDTH / 100, value["height"] * HEIGHT / 100
    angle = np.radians(value["rotation"])
    across, down = np.array([np.cos(angle), np.sin(angle)]) * width, np.array([-np.sin(angle), np.cos(angle)]) * height
    centre = np.array([value["x"] * WIDTH, value["y"] * HEIGHT]) / 100 + across / 2 + down / 2
    np.testing.assert_allclose(centre, np.mean(answer["corners"], axis=0), atol=0.05)
    assert value["rotation"] == pytest.approx(np.degrees(answer["angle"]), abs=0.2)


@pytest.mark.parametrize(
    ("name", "model"), [("coco", "colour"), ("yolo", "colour"), ("csv", "vector"), ("labelstudio", "depth")]
)
def test_a_format_that_cannot_hold_the_task_is_an_error(
    command: CommandLine, photos: Path, tmp_path: Path, name: str, model: str
) -> None:
    done = command(photos, "--format", name, "--model", model, "--save", tmp_path / "out")
    assert done.returncode == 2
    assert "these can: json, ndjson" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["json", "coco", "labelstudio"])
def test_without_any_result_the_file_is_json(name: str) -> None:
    out = BytesIO()
    write(name, lambda: iter(()), (), out, None)
    json.loads(out.getvalue())
