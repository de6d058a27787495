"""Coverage-guided fuzzing of one target with atheris: `python -m tests.fuzz.cover TARGET SECONDS`.

Exit status: 0, or another one if an input breaks the target; the input is then kept as a seed. Atheris leaks some
KB for each input in the code that it instruments, so a process must not run for long.
"""

import ast
import re
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import atheris

from tests.paths import ROOT

with atheris.instrument_imports(include=["loaders", "api.uploads.multipart", "json", "python_multipart", "tomllib"]):
    # Image loaders are imported lazily, which would be after the instrumentation.
    import loaders.images.opencv_loader
    import loaders.images.pillow_loader  # noqa: F401 - see above
    from tests.fuzz.targets import BOUNDARY, LENGTH, SEEDS, TARGETS, FoundError

_WORK = ROOT / ".proof" / "fuzz"
_DATA = ROOT / "tests" / "data"
_LONGEST = 32 * 1024  # bytes of an input
_TIMEOUT_S = 20  # of one input
_INPUT_MIB, _PROCESS_MIB = 400, 4000
# The files whose literals are the dictionary of a target.
_WORDS = {
    "picture": "loaders/images/headers/*.py",
    "model": "loaders/onnx/*.py",
    "sidecar": "loaders/**/*.py",
    "form": "api/uploads/*.py",
    "tensors": "api/dialects/open_inference/*.py",
}


def main() -> None:
    """Does not return: libFuzzer ends the process."""
    name, seconds = sys.argv[1], int(sys.argv[2])
    corpus = _WORK / "corpus" / name
    first = _WORK / "first" / name
    for folder in (corpus, first, SEEDS / name):
        folder.mkdir(parents=True, exist_ok=True)
    for i, data in enumerate(_first_inputs(name)):
        (first / f"{i:03}").write_bytes(data)
    words = _WORK / f"{name}.dict"
    words.write_text("".join(f'"{word}"\n' for word in sorted(_words(_WORDS[name]))))
    atheris.Setup(
        [
            sys.argv[0],
            f"-max_total_time={seconds}",
            f"-max_len={_LONGEST}",
            f"-timeout={_TIMEOUT_S}",
            f"-rss_limit_mb={_PROCESS_MIB}",
            f"-artifact_prefix={SEEDS / name}/",
            "-print_final_stats=1",
            f"-dict={words}",
            str(corpus),
            str(first),
            str(SEEDS / name),
        ],
        _with_memory_limit(TARGETS[name]),
    )
    atheris.Fuzz()


def _with_memory_limit(target: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """After the first input, which loads libraries, a single input must not take much memory."""
    most = 0

    def watched(data: bytes) -> None:
        nonlocal most
        target(data)
        before, most = most, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if before and most - before > _INPUT_MIB * 1024:
            raise FoundError(f"one input took {(most - before) // 1024} MiB")

    return watched


def _first_inputs(name: str) -> Iterator[bytes]:
    match name:
        case "picture":
            yield from _files(_DATA / "odd_pictures", _DATA / "photos")
        case "model":
            yield from _files(*(ROOT / "models").glob("*/[0-9]*"))
        case "sidecar":
            for file in sorted((ROOT / "models").glob("*/model.toml")):
                yield b"\0" + file.read_bytes()
            for i in range(1, 8):
                yield bytes([i]) + b'{"id2label": {"0": "cat"}, "size": {"height": 8, "width": 8}, "image_mean": [0.5]}'
        case "form":
            head = b'Content-Disposition: form-data; name="image"; filename="a.jpg"\r\nContent-Type: image/jpeg'
            for cuts in (b"\xff\xff\xff\xff", b"\x10\x40\x80\xc0"):
                yield cuts + b"--" + BOUNDARY + b"\r\n" + head + b"\r\n\r\npixels\r\n--" + BOUNDARY + b"--\r\n"
        case "tensors":
            as_json = b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[0.5,1]}]}'
            yield b"\xff\xff" + as_json
            for datatype, shape, data in ((b"FP32", b"1,2", bytes(8)), (b"BYTES", b"1", b"\3\0\0\0abc")):
                binary = b'{"inputs":[{"name":"x","shape":[%s],"datatype":"%s","parameters":{"binary_data_size":%d}}]}'
                head = binary % (shape, datatype, len(data))
                yield LENGTH.pack(len(head)) + head + data


def _words(files: str) -> set[str]:
    """Returns every short literal of the files, in the format of libFuzzer's dictionaries."""
    found = set()
    for file in ROOT.glob(files):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            value = node.value if isinstance(node, ast.Constant) else None
            data = value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else b""
            if 2 <= len(data) <= 32 and b"\n" not in data:
                found.add("".join(f"\\x{byte:02x}" for byte in data))
    return found


def _files(*folders: Path) -> Iterator[bytes]:
    """Gives the contents of files, of large ones the beginning."""
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and not re.search(r"\.(md|json|txt)$", file.name):
                with file.open("rb") as opened:
                    yield opened.read(_LONGEST)


if __name__ == "__main__":
    main()
