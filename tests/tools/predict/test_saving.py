"""`--save`: which files there are, that they agree with the service, and what `--resume` does."""

import json
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFont

from engine.drawing import Drawer
from engine.tasks.predictions import Box, Detection
from loaders.image_loader import create_image_loader
from tests.command_line import CommandLine
from tests.conftest import Serve
from tests.pictures import Pixels, encode, scene
from tests.tools.predict.conftest import HEIGHT, WIDTH
from tools.predict.journal import FILE


def files(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()} - {FILE}


def pixels(file: Path | bytes) -> Pixels:
    data = file if isinstance(file, bytes) else file.read_bytes()
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"))


def test_annotated_copies_keep_sub_folders_and_formats(command: CommandLine, photos: Path, tmp_path: Path) -> None:
    done = command(photos, "--save", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert files(tmp_path / "out") == {"annotated/a.jpg", "annotated/b.png", "annotated/sub/c.webp"}
    assert f"saved {tmp_path}/out/annotated/sub/c.webp" in done.stdout
    with Image.open(tmp_path / "out/annotated/sub/c.webp") as image:
        assert image.format == "WEBP"


def test_drawn_pictures_of_the_command_and_the_service_and_the_json_agree(
    command: CommandLine, serve: Serve, task_models: Path, tmp_path: Path
) -> None:
    client = serve(models_dir=task_models).client
    for name, side in (("small.png", 96), ("large.jpg", 1024)):  # the large one is decoded at a reduced scale
        data = encode(scene(side, side), "PNG" if name.endswith("png") else "JPEG")
        (tmp_path / name).write_bytes(data)
        command(tmp_path / name, "--model", "boxes", "--save", tmp_path / f"out {name}")
        drawn = pixels(tmp_path / f"out {name}" / "annotated" / name)
        media_type = "image/png" if name.endswith("png") else "image/jpeg"
        served = client.post("/infer?model=boxes", content=data, headers={"Accept": media_type})
        np.testing.assert_array_equal(drawn, pixels(served.content))
        answer = client.post("/infer?model=boxes", content=data).json()["predictions"]
        assert answer == json.loads(command(tmp_path / name, "--model", "boxes", "--json").stdout)["predictions"]
        found = [Detection(**each | {"box": Box(**each["box"])}) for each in answer]
        if name.endswith("png"):
            np.testing.assert_array_equal(drawn, Drawer()(create_image_loader("opencv").load(data), found))


@pytest.mark.parametrize(
    ("paths", "save"),
    [(["photos"], "photos"), (["photos"], "photos/out"), (["photos/sub"], "photos"), (["photos/a.jpg"], "photos")],
)
def test_nothing_is_saved_where_pictures_are_read(
    command: CommandLine, photos: Path, paths: list[str], save: str
) -> None:
    before = files(photos)
    done = command(*[photos.parent / path for path in paths], "--save", photos.parent / save)
    assert done.returncode == 2
    assert "contain each other" in done.stderr
    assert files(photos) == before


def test_crops_are_the_parts_of_the_picture_in_the_boxes(command: CommandLine, photos: Path, tmp_path: Path) -> None:
    command(photos / "b.png", "--model", "boxes", "--save", tmp_path / "out", "--crops")
    assert files(tmp_path / "out/crops") == {"cat/b.png-1.png", "red, or green/b.png-2.png"}
    np.testing.assert_array_equal(pixels(tmp_path / "out/crops/cat/b.png-1.png"), scene(WIDTH, HEIGHT)[24:72, 16:80])


def test_masks_and_depth_maps_are_saved_as_png(command: CommandLine, photos: Path, tmp_path: Path) -> None:
    command(photos / "b.png", "--model", "masks", "--save", tmp_path / "masks")
    mask = cv2.imread(str(tmp_path / "masks/masks/b.png-1-cat.png"), cv2.IMREAD_UNCHANGED)
    assert mask is not None
    assert mask.shape == (HEIGHT, WIDTH)
    assert set(np.unique(mask)) == {0, 255}
    command(photos / "b.png", "--model", "depth", "--save", tmp_path / "depth")
    assert files(tmp_path / "depth") == {"annotated/b.png", "depth/b.png"}
    depth = cv2.imread(str(tmp_path / "depth/depth/b.png"), cv2.IMREAD_UNCHANGED)
    assert depth is not None
    assert depth.dtype == np.uint16


def test_embeddings_are_saved_as_npy(command: CommandLine, photos: Path, tmp_path: Path) -> None:
    done = command(photos, "--model", "vector", "--save", tmp_path / "out", "--json")
    assert files(tmp_path / "out") == {f"embeddings/{name}.npy" for name in ("a.jpg", "b.png", "sub/c.webp")}
    answer = json.loads(done.stdout.splitlines()[1])
    vector = np.load(tmp_path / "out/embeddings/b.png.npy")
    np.testing.assert_allclose(vector, answer["predictions"][0]["embedding"])
    assert answer["saved"] == ["embeddings/b.png.npy"]
    assert "embeddings │     3 │" in done.stderr


def test_a_folder_with_results_is_not_overwritten(command: CommandLine, photos: Path, tmp_path: Path) -> None:
    assert command(photos, "--save", tmp_path / "out").returncode == 0
    again = command(photos, "--save", tmp_path / "out")
    assert again.returncode == 2
    assert "continue them with --resume" in again.stderr


def test_resume_repeats_only_what_is_not_finished(command: CommandLine, photos: Path, tmp_path: Path) -> None:
    arguments = (photos, "--save", tmp_path / "out", "--format", "coco", "--model", "boxes")
    command(*arguments)
    whole = (tmp_path / "out/coco.json").read_bytes()
    assert '"saved"' not in whole.decode()
    lines = (tmp_path / "out" / FILE).read_bytes().splitlines(keepends=True)
    (tmp_path / "out" / FILE).write_bytes(b"".join(lines[:3]) + lines[3][:20])  # the last one is cut off
    (tmp_path / "out/annotated/a.jpg").write_bytes(b"")  # the file is there, but not finished
    (tmp_path / "out/coco.json").unlink()
    done = command(*arguments, "--resume")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/coco.json").read_bytes() == whole
    assert (tmp_path / "out/annotated/a.jpg").stat().st_size
    assert len((tmp_path / "out" / FILE).read_bytes().splitlines()) == 5  # a.jpg and sub/c.webp once more
    again = command(*arguments, "--resume")
    assert "annotated" not in again.stderr
    assert (tmp_path / "out/coco.json").read_bytes() == whole


def test_resume_repeats_a_picture_that_failed_or_changed(command: CommandLine, photos: Path, tmp_path: Path) -> None:
    good = (photos / "a.jpg").read_bytes()
    (photos / "a.jpg").write_bytes(b"bad")
    arguments = (photos, "--save", tmp_path / "out", "--format", "json")
    assert command(*arguments).returncode == 1
    assert len(json.loads((tmp_path / "out/predictions.json").read_text())) == 2
    (photos / "a.jpg").write_bytes(good)
    (photos / "b.png").write_bytes(encode(scene(64, 64), "PNG"))
    assert command(*arguments, "--resume").returncode == 0
    found = json.loads((tmp_path / "out/predictions.json").read_text())
    assert [answer["image"]["width"] for answer in found] == [WIDTH, 64, WIDTH]
    assert found[0]["saved"] == ["annotated/a.jpg"]


def test_resume_with_another_model_is_an_error(command: CommandLine, photos: Path, tmp_path: Path) -> None:
    command(photos, "--save", tmp_path / "out")
    done = command(photos, "--save", tmp_path / "out", "--model", "boxes", "--resume")
    assert done.returncode == 2
    assert "has results of model colour" in done.stderr


@pytest.mark.parametrize("argument", ["--crops", "--explain", "--resume", "--format=yolo"])
def test_what_needs_a_folder_says_so(command: CommandLine, photos: Path, argument: str) -> None:
    done = command(photos, argument)
    assert done.returncode == 2
    assert "needs --save" in done.stderr


def test_explain_saves_the_heat_map_of_the_service(
    command: CommandLine, serve: Serve, task_models: Path, photos: Path, tmp_path: Path
) -> None:
    done = command(photos / "b.png", "--save", tmp_path / "here", "--explain", "--classes", "blue")
    assert done.returncode == 0, done.stderr
    server = serve(models_dir=task_models, default_model="colour")
    query = {"class_id": 2}
    data = (photos / "b.png").read_bytes()
    served = server.client.post("/explain", params=query, content=data, headers={"Accept": "image/png"})
    assert (tmp_path / "here/explained/b.png").read_bytes() == served.content
    url = f"http://127.0.0.1:{server.port}"
    command(photos / "b.png", "--save", tmp_path / "there", "--explain", "--classes", "blue", "--url", url)
    assert (tmp_path / "there/explained/b.png").read_bytes() == served.content


def test_explain_of_a_task_without_a_score_is_an_error(command: CommandLine, photos: Path, tmp_path: Path) -> None:
    done = command(photos, "--save", tmp_path / "out", "--explain", "--model", "depth")
    assert done.returncode == 2
    assert "depth-estimation cannot be explained" in done.stderr


def test_another_font_changes_the_letters_of_command_and_service_alike(
    command: CommandLine, serve: Serve, task_models: Path, tmp_path: Path
) -> None:
    font, data = tmp_path / "aileron.ttf", encode(scene(96, 96), "PNG")
    other = ImageFont.load_default(20)
    assert isinstance(other, ImageFont.FreeTypeFont)
    font.write_bytes(other.font_bytes)
    (tmp_path / "a.png").write_bytes(data)
    command(tmp_path / "a.png", "--model", "boxes", "--font", font, "--save", tmp_path / "out")
    drawn = pixels(tmp_path / "out" / "annotated" / "a.png")
    services = [serve(models_dir=task_models, font=file).client for file in (font, None)]
    answers = [client.post("/infer?model=boxes", content=data, headers={"Accept": "image/png"}) for client in services]
    with_font, without = (pixels(answer.content) for answer in answers)
    np.testing.assert_array_equal(drawn, with_font)
    assert (with_font != without).any()
