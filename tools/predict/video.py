"""Frames of video files."""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePath

import cv2
import numpy as np
from numpy.typing import NDArray

_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg"})
_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)
_FILES_ONLY = "protocol_whitelist;file"
_TOLERANCE_S = 1e-3

Frame = NDArray[np.uint8]


def has_video_suffix(path: PurePath) -> bool:
    return path.suffix.lower() in _SUFFIXES


def frames(file: Path, every_s: float) -> Iterator[tuple[float, Frame]]:
    """(seconds, BGR frame): the first frame, and the next one after each `every_s`. Raises OSError."""
    video = _open(file)
    try:
        next_s, count = 0.0, 0
        while video.grab():
            time_s = max(0.0, video.get(cv2.CAP_PROP_POS_MSEC) / 1e3)
            if time_s + _TOLERANCE_S < next_s:
                continue
            read, frame = video.retrieve()
            if read:
                count += 1
                yield round(time_s, 3), np.asarray(frame, np.uint8)
            next_s = (math.floor((time_s + _TOLERANCE_S) / every_s) + 1) * every_s
    finally:
        video.release()
    if not count:
        raise OSError("the video has no frame that can be read")


def frame_count(file: Path, every_s: float) -> int:
    """An estimate by the video's header, at least 1."""
    try:
        video = _open(file)
    except OSError:
        return 1
    seconds = video.get(cv2.CAP_PROP_FRAME_COUNT) / max(1e-3, video.get(cv2.CAP_PROP_FPS))
    video.release()
    return max(1, math.ceil(min(seconds, 1e9) / every_s))


def encoded(frame: Frame) -> bytes:
    """The frame as PNG, so that it goes the way of every other picture."""
    return cv2.imencode(".png", frame, _PNG)[1].tobytes()


def _open(file: Path) -> cv2.VideoCapture:
    """FFmpeg may not follow references of a playlist to the network."""
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", _FILES_ONLY)
    video = cv2.VideoCapture(str(file.resolve()), cv2.CAP_FFMPEG)
    if not video.isOpened():
        raise OSError("this video is damaged or has an unknown format")
    return video
