"""The targets of fuzzing in process: each takes any bytes and raises only for a bug.

`make test` runs the seeds through the same functions, so that a bug that was found stays fixed.
"""

import struct
import tempfile
from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from pathlib import Path

from api.dialects.open_inference.codec import BF16, from_bytes, to_bytes
from api.dialects.open_inference.messages import parse_request
from api.problems import RequestError
from api.uploads.base64_pictures import decode_picture
from api.uploads.multipart import MultipartReader
from loaders.image_loader import create_image_loader
from loaders.images.base import ImageInfo, ImageLoader, ImageLoaderOptions, Size
from loaders.images.errors import ImageError, ImageTooLargeError
from loaders.images.headers import read_header
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
_CUTS = 4  # bytes
LENGTH, _WHOLE = struct.Struct("<H"), 0xFFFF
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
    """An input breaks a rule."""


def picture(data: bytes) -> None:
    """Both decoders: the header and the picture agree, every error is an ImageError that names no path."""
    probed = {name: _probe(_loader(name), data) for name in _LOADERS}
    if len({str(info) for info in probed.values()}) > 1:
        raise FoundError(f"the loaders disagree about the header: {probed}")
    for name in _LOADERS:
        for least in (None, _LEAST):
            _load(_loader(name), data, least, probed[name])


def model(data: bytes) -> None:
    """The reader of .onnx files: any file is read or rejected by a ModelError of one line."""
    path = _folder() / "model.onnx"
    path.write_bytes(data)
    try:
        graph = read_onnx(path)
        check_external_files(path, graph)
        resolve(ModelFiles.of_bare_file(path), graph)
    except ModelError as error:
        _check_message(error)


def sidecar(data: bytes) -> None:
    """The files beside a graph: the first byte chooses the file, the others are its content."""
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
    """The parser of forms: fields do not depend on the chunks. The first bytes are the positions to cut the form at."""
    cuts, body = data[:_CUTS], data[_CUTS:]
    places = sorted({0, len(body), *(cut * len(body) // 255 for cut in cuts)})
    whole, cut = _read_form([body]), _read_form([body[start:stop] for start, stop in pairwise(places)])
    if isinstance(whole, str) or isinstance(cut, str):
        return  # python-multipart accepts some malformed forms or rejects them, depending on the chunks
    if whole != cut:
        raise FoundError(f"in one chunk: {whole}, in several: {cut}")


def tensors(data: bytes) -> None:
    """Infer requests of the Open Inference Protocol: the first two bytes are the length of the JSON, 65,535 for all."""
    if len(data) < LENGTH.size:
        return
    [length] = LENGTH.unpack_from(data)
    read_text = partial(decode_picture, max_bytes=_MAX_PIXELS)
    try:
        request = parse_request(memoryview(data)[LENGTH.size :], None if length == _WHOLE else length, read_text)
    except RequestError as error:
        _check_message(error)
        return
    for tensor in request.inputs:
        if tensor.datatype == BF16:  # it has become float32
            continue
        again = from_bytes("again", tensor.datatype, tensor.array.shape, memoryview(to_bytes(tensor.array)))
        if to_bytes(again.array) != to_bytes(tensor.array):
            raise FoundError(f"{tensor} became {again}")


TARGETS: dict[str, Callable[[bytes], None]] = {
    "picture": picture,
    "model": model,
    "sidecar": sidecar,
    "form": form,
    "tensors": tensors,
}


def _probe(loader: ImageLoader, data: bytes) -> ImageInfo | str:
    try:
        return read_header(data, loader.formats).info
    except ImageError as error:
        _check_message(error)
        return type(error).__name__


def _load(loader: ImageLoader, data: bytes, least: Size | None, probed: ImageInfo | str) -> None:
    try:
        loaded = loader.load(data, least)
    except ImageError as error:
        _check_message(error)
        if isinstance(error, ImageTooLargeError) and isinstance(probed, str):
            raise FoundError("too large, although the header was rejected") from error
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
        raise FoundError(f"a bad error message: {text!r}") from error


@cache
def _loader(name: str) -> ImageLoader:
    return create_image_loader(name, ImageLoaderOptions(_MAX_PIXELS, accept_truncated=True))


@cache
def _folder() -> Path:
    """A temporary folder. libFuzzer ends the process at once, so `python -m tests.fuzz` removes it."""
    return Path(tempfile.mkdtemp(prefix="fovea-fuzz-"))


@cache
def _graph() -> OnnxGraph:
    return read_onnx(_GRAPH)


def _read_form(chunks: list[bytes]) -> list[tuple[str, str | None, bytes]] | str:
    """Name, filename and bytes of each field, or the error's code."""
    collected = _Fields()
    reader = MultipartReader(BOUNDARY, collected)
    try:
        for chunk in chunks:
            reader.feed(chunk)
        reader.finish()
    except RequestError as error:
        return type(error).__name__
    return [(name, filename, bytes(data)) for name, filename, data in collected.fields]


class _Fields:
    def __init__(self) -> None:
        self.fields: list[tuple[str, str | None, bytearray]] = []

    def open_field(self, name: str, filename: str | None) -> Callable[[memoryview], None]:
        data = bytearray()
        self.fields.append((name, filename, data))
        return data.extend

    def close_field(self) -> None:
        """Every field is kept."""
