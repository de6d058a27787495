"""What ONNX Runtime says when something goes wrong, in plain words and without the place where the file lies."""

import re
from pathlib import Path

# The folder in which a graph's own copy lies while it is loaded.
COPY_PREFIX = "fovea-"
_OWN_COPY = re.compile(rf"\S*/{COPY_PREFIX}\w+/")

_IN_PLAIN_WORDS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"Opset (\d+) is under development"), "it uses opset {0}, which this runtime does not know yet"),
    (re.compile(r"No Op registered for (\S+)"), "it needs the operator {0}, which this runtime does not have"),
    (
        re.compile(r"(\S+) is not a registered function/op"),
        "it needs the operator {0}, which this runtime does not have",
    ),
    (re.compile(r"buffer of size (\d+)"), "it needs more memory than there is: {0} bytes at once"),
    (re.compile(r"External initializer: (\S+)"), "its external data are shorter than the graph says, at {0}"),
)

# As in "/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:359 void* onnxruntime::BFCArena::... ".
_SOURCE_PLACE = re.compile(r"\S*/onnxruntime\S*\.(?:cc|h|cpp):\d+ (?:\S.*?\) )?")


_NO_MEMORY = re.compile(r"bad_alloc|Failed to allocate memory|Available memory of \d+ is smaller than requested")


def is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or bool(_NO_MEMORY.search(str(error)))


def reason(error: Exception, path: Path) -> str:
    """Without the folder the file lies in."""
    text = _OWN_COPY.sub("", first_line(error)).replace(str(path), path.name)
    for folder in (path.parent, path.resolve().parent):
        text = text.replace(str(folder), "")
    return f"{path.name} cannot be loaded: {text}"


def first_line(error: Exception) -> str:
    """The runtime's own words without its status prefix and its source files."""
    if isinstance(error, MemoryError) or "bad_alloc" in str(error):
        return "not enough memory"
    for pattern, words in _IN_PLAIN_WORDS:
        if match := pattern.search(str(error)):
            return words.format(*match.groups())
    line = str(error).splitlines()[0] if str(error) else type(error).__name__
    text = line.split(" : ", 3)[-1]
    return _SOURCE_PLACE.sub("", text).strip()
