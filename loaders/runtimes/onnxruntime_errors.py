"""Translates ONNX Runtime's errors into plain words, without paths."""

import re
from pathlib import Path

# Prefix of the folder with the private copy of a graph during its load.
COPY_PREFIX = "fovea-"
_PRIVATE_COPY = re.compile(rf"\S*/{COPY_PREFIX}\w+/")

_IN_PLAIN_WORDS = {
    r"Opset (\d+) is under development": "it uses opset {0}, which this runtime does not support; export a lower opset",
    r"No Op registered for (\S+)": "it needs the operator {0}, which this runtime does not support",
    r"(\S+) is not a registered function/op": "it needs the operator {0}, which this runtime does not support",
    r"buffer of size (\d+)": "there is not enough memory: it allocates {0} bytes at once",
    r"External initializer: (\S+)": "its external data are shorter than the graph says, at {0}; copy that file again",
}

# As in "/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:359 void* onnxruntime::BFCArena::... ".
_SOURCE_PLACE = re.compile(r"\S*/onnxruntime\S*\.(?:cc|h|cpp):\d+ (?:\S.*?\) )?")
_NO_MEMORY = re.compile(r"bad_alloc|Failed to allocate memory|Available memory of \d+ is smaller than requested")


def is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or bool(_NO_MEMORY.search(str(error)))


def reason(error: Exception, path: Path) -> str:
    """Names the file without its folder."""
    text = _PRIVATE_COPY.sub("", first_line(error)).replace(str(path), path.name)
    for folder in (path.parent, path.resolve().parent):
        text = text.replace(str(folder), "")
    return f"{path.name} cannot be loaded: {text}"


def first_line(error: Exception) -> str:
    """Returns the runtime's message without its status prefix and source locations."""
    if isinstance(error, MemoryError) or "bad_alloc" in str(error):
        return "not enough memory"
    for pattern, words in _IN_PLAIN_WORDS.items():
        if match := re.search(pattern, str(error)):
            return words.format(*match.groups())
    line = str(error).splitlines()[0] if str(error) else type(error).__name__
    text = line.split(" : ", 3)[-1]
    return _SOURCE_PLACE.sub("", text).strip()
