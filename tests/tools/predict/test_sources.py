"""What the command line takes: folders, patterns, archives and videos."""

import json
from pathlib import Path
from zipfile import ZipFile

import cv2
import numpy as np
import pytest

from tests.command_line import CommandLine
from tests.pictures_by_colour import colour_picture


def names(printed: str) -> list[str]:
    return [json.loads(line)["image"]["filename"] for line in printed.splitlines()]


def video(file: Path, seconds: float = 2.5) -> Path:
    """Red, then blue after a second; ten frames a second."""
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for number in range(int(seconds * 10)):
        frame = np.zeros((48, 64, 3), np.uint8)
        frame[:, :, 2 if number < 10 else 0] = 255
        writer.write(frame)
    writer.release()
    return file


def test_a_folder_is_read_with_its_sub_folders(command: CommandLine, photos: Path) -> None:
    done = command(photos, "--json")
    assert names(done.stdout) == [str(photos / name) for name in ("a.jpg", "b.png", "sub/c.webp")]


def test_a_pattern_is_expanded(command: CommandLine, photos: Path) -> None:
    done = command(photos / "**" / "*.[jw]*", "--json")
    assert names(done.stdout) == [str(photos / "a.jpg"), str(photos / "sub/c.webp")]
    missing = command(photos / "*.gif", "--json")
    assert missing.returncode == 1
    assert "no file matches" in missing.stderr


def test_an_archive_is_read_without_unpacking(command: CommandLine, tmp_path: Path) -> None:
    with ZipFile(tmp_path / "pictures.zip", "w") as archive:
        archive.writestr("sub/red.png", colour_picture("red"))
        archive.writestr("blue.png", colour_picture("blue"))
        archive.writestr("__MACOSX/._blue.png", b"")
        archive.writestr("notes.txt", b"")
    done = command(tmp_path / "pictures.zip", "--json")
    assert [json.loads(line)["predictions"][0]["label"] for line in done.stdout.splitlines()] == ["blue", "red"]
    assert names(done.stdout)[1] == f"{tmp_path}/pictures.zip/sub/red.png"


def test_a_member_of_an_archive_is_saved_below_the_folder(command: CommandLine, tmp_path: Path) -> None:
    with ZipFile(tmp_path / "evil.zip", "w") as archive:
        for name in ("../../evil.png", "/evil.png", "C:\\evil.png"):
            archive.writestr(name, colour_picture("red"))
    assert command(tmp_path / "evil.zip", "--save", tmp_path / "x" / "out").returncode == 0
    saved = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("evil*.png")}
    assert saved == {f"x/out/annotated/evil/evil{number}.png" for number in ("", "-2", "-3")}


def test_a_damaged_archive_is_named_and_the_others_are_answered(command: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04 no archive")
    (tmp_path / "red.png").write_bytes(colour_picture("red"))
    done = command(tmp_path / "bad.zip", tmp_path / "red.png", "--json")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{tmp_path}/bad.zip: ")
    assert names(done.stdout) == [f"{tmp_path}/red.png"]


def test_a_damaged_member_of_an_archive_fails_alone(command: CommandLine, tmp_path: Path) -> None:
    with ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("blue.png", colour_picture("blue"))
        archive.writestr("red.png", colour_picture("red"))
    data = (tmp_path / "a.zip").read_bytes()
    at = data.index(colour_picture("blue")) + 20
    (tmp_path / "a.zip").write_bytes(data[:at] + b"?" + data[at + 1 :])
    done = command(tmp_path / "a.zip", "--json")
    assert done.returncode == 1
    assert "blue.png: it cannot be unpacked" in done.stderr
    assert names(done.stdout) == [f"{tmp_path}/a.zip/red.png"]


@pytest.mark.parametrize(
    ("every", "expected"),
    [("1s", [(0.0, "red"), (1.0, "blue"), (2.0, "blue")]), ("2s", [(0.0, "red"), (2.0, "blue")])],
)
def test_a_video_is_read_as_frames(
    command: CommandLine, tmp_path: Path, every: str, expected: list[tuple[float, str]]
) -> None:
    file = video(tmp_path / "clip.avi")
    lines = [json.loads(line) for line in command(file, "--every", every, "--json").stdout.splitlines()]
    assert [(line["image"]["time_s"], line["predictions"][0]["label"]) for line in lines] == expected
    assert {line["image"]["filename"] for line in lines} == {str(file)}


def test_rows_of_frames_have_their_time(command: CommandLine, tmp_path: Path) -> None:
    rows = command(video(tmp_path / "clip.avi"), "--format", "csv", "--top-k", 1).stdout.splitlines()
    assert rows[0].startswith("filename,time_s,width,height,label,class_id,score")
    assert [row.split(",")[1:5] for row in rows[1:]] == [
        ["0.0", "64", "48", "red"], ["1.0", "64", "48", "blue"], ["2.0", "64", "48", "blue"],
    ]  # fmt: skip


def test_a_damaged_video_is_named(command: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    (tmp_path / "red.png").write_bytes(colour_picture("red"))
    done = command(tmp_path, "--json")
    assert done.returncode == 1
    assert "clip.mp4: this video is damaged" in done.stderr
    assert len(done.stdout.splitlines()) == 1


def test_a_picture_that_is_named_twice_is_answered_once(command: CommandLine, photos: Path) -> None:
    assert len(command(photos, photos / "a.jpg", "--json").stdout.splitlines()) == 3
