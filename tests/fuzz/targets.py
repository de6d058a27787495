"""What is fuzzed in process: each target takes any bytes and raises only for what is a bug of ours.

`make test` runs the seeds through the same functions, so a crash that was found once stays mended.
"""

import asyncio
import tempfile
from collections.abc import Callable, Coroutine
from functools import cache
from itertools import pairwise
from pathlib import Path

from starlette.requests import Request

from api.problems import RequestError
from api.uploads.body import Body
from api.uploads.image_form import ENVELOPE_BYTES, Upload, _ImageForm, _read_form
from loaders.image_loader import create_image_loader
from loaders.images.base import ImageInfo, ImageLoader, ImageLoaderOptions, Size
from loaders.images.errors import ImageError, ImageTooLargeError
from loaders.model_errors import ModelError
from loaders.onnx.onnx_file import OnnxGraph, check_external_files, read_onnx
from loaders.repository.specs import ModelFiles, resolve
from tests.paths import ROOT

SEEDS = Path(__file__).parent / "seeds"
BOUNDARY = b"b0undary"

_LOADERS = ("opencv", "pillow")
_MAX_PIXELS = 1_000_000  # keeps one input below a second and 100 MB
_LEAST = Size(48, 32)
_GRAPH = ROOT / "models" / "efficientnet-lite0" / "1" / "model.onnx"
_FORM_LIMIT = 300  # bytes of the picture
_CHUNKS = 4
_SIDECARS = (
    "model.toml",
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "labels.txt",
    "labels.json",
    "selected_tags.csv",
    "imagenet_class_index.json",
)


class FoundError(AssertionError):
    """A promise that some input breaks."""


def picture(data: bytes) -> None:
    """Both decoders: the header and the picture agree, every error is an ImageError that names no path."""
    probed = {name: _probe(_loader(name), data) for name in _LOADERS}
    if len({str(info) for info in probed.values()}) > 1:
        raise FoundError(f"the loaders disagree about the header: {probed}")
    for name in _LOADERS:
        for least in (None, _LEAST):
            _load(_loader(name), data, least, probed[name])


def model(data: bytes) -> None:
    """The reader of .onnx files: any file is described or refused by a ModelError of one line."""
    path = _folder() / "model.onnx"
    path.write_bytes(data)
    try:
        graph = read_onnx(path)
        check_external_files(path, graph)
        resolve(ModelFiles.of_bare_file(path), graph)
    except ModelError as error:
        _check_message(error)


def sidecar(data: bytes) -> None:
    """The files beside a graph: the first byte says which one, the rest is what it holds."""
    if not data:
        return
    name = _SIDECARS[data[0] % len(_SIDECARS)]
    folder = _folder() / "beside"
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_bytes(data[1:])
    try:
        resolve(ModelFiles.of_folder(folder / "model.onnx", folder), _graph())
    except ModelError as error:
        _check_message(error)
    finally:
        file.unlink()


def form(data: bytes) -> None:
    """The short cut for ordinary forms against the parser; the first bytes say where the form is cut into chunks."""
    cuts, body = data[:_CHUNKS], data[_CHUNKS:]
    places = sorted({0, len(body), *(cut * len(body) // 255 for cut in cuts)})
    chunks = [body[start:stop] for start, stop in pairwise(places)] or [b""]
    short, full = _outcome(chunks, _by_short_cut), _outcome(chunks, _by_parser)
    if short != full:
        raise FoundError(f"the short cut says {short}, the parser {full}")


TARGETS: dict[str, Callable[[bytes], None]] = {"picture": picture, "model": model, "sidecar": sidecar, "form": form}


def _probe(loader: ImageLoader, data: bytes) -> ImageInfo | str:
    try:
        return loader.probe(data)
    except ImageError as error:
        _check_message(error)
        return type(error).__name__


def _load(loader: ImageLoader, data: bytes, least: Size | None, probed: ImageInfo | str) -> None:
    try:
        loaded = loader.load(data, least)
    except ImageError as error:
        _check_message(error)
        if isinstance(error, ImageTooLargeError) and isinstance(probed, str):
            raise FoundError("too large, though the header was refused") from error
        return
    info, (height, width, channels) = loaded.info, loaded.pixels.shape
    if info != probed:
        raise FoundError(f"probe says {probed}, load says {info}")
    whole = (width, height) == (info.width, info.height)
    if channels != 3 or loaded.pixels.dtype != "uint8" or not loaded.pixels.flags.c_contiguous:
        raise FoundError(f"a picture of shape {loaded.pixels.shape}, {loaded.pixels.dtype}")
    if not whole and (least is None or width < least.width or height < least.height):
        raise FoundError(f"{info} decoded to {width} x {height}")


def _check_message(error: Exception) -> None:
    text = str(error)
    if not text or "\n" in text or "/tmp" in text or "Traceback" in text or len(text) > 2000:
        raise FoundError(f"a message that is none: {text!r}") from error


@cache
def _loader(name: str) -> ImageLoader:
    return create_image_loader(name, ImageLoaderOptions(_MAX_PIXELS, accept_truncated=True))


@cache
def _folder() -> Path:
    """Left behind: libFuzzer ends the process at once. `python -m tests.fuzz` removes it."""
    return Path(tempfile.mkdtemp(prefix="fovea-fuzz-"))


@cache
def _graph() -> OnnxGraph:
    return read_onnx(_GRAPH)


def _outcome(chunks: list[bytes], read: Callable[[Body], Coroutine[None, None, Upload]]) -> Upload | type[RequestError]:
    left = list(chunks)

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    body = Body(Request({"type": "http", "headers": []}, receive), _FORM_LIMIT + ENVELOPE_BYTES, _FORM_LIMIT)
    try:
        return _run(read(body))
    except RequestError as error:
        return type(error)


def _run(work: Coroutine[None, None, Upload]) -> Upload:
    """Nothing in it waits, so it needs no loop: a hundred times faster."""
    try:
        work.send(None)
    except StopIteration as end:
        upload: Upload = end.value
        return upload
    raise asyncio.InvalidStateError("it waits")


async def _by_short_cut(body: Body) -> Upload:
    return await _read_form(body, BOUNDARY, _FORM_LIMIT)


async def _by_parser(body: Body) -> Upload:
    return await _ImageForm(_FORM_LIMIT, BOUNDARY).read(body)
