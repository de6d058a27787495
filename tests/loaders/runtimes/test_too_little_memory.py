"""A valid picture that does not fit into memory raises MemoryError and not CorruptImageError, in every decoder."""

import subprocess
import sys

import pytest

from tests.paths import ROOT

# Each decoder has run before memory is limited to 8 MiB more; the picture takes 19.
DECODE = """
import io, re, resource
from pathlib import Path
from PIL import Image
from loaders.images.errors import ImageError
from loaders.image_loader import create_image_loader, image_loader_names

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF")

def encoded(side, name):
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(buffer, name, method=0, compress_level=1)
    return buffer.getvalue()

small, large = ({name: encoded(side, name) for name in FORMATS} for side in (50, 2500))
loaders = {name: create_image_loader(name) for name in image_loader_names()}
for loader in loaders.values():
    for name in FORMATS:
        loader.load(small[name])
used = int(re.findall(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[0]) << 10
resource.setrlimit(resource.RLIMIT_AS, (used + (8 << 20),) * 2)
for which, loader in loaders.items():
    for name in FORMATS:
        try:
            loader.load(large[name])
        except (MemoryError, ImageError) as error:
            print(which, name, type(error).__name__)
        else:
            print(which, name, "read")
        try:
            loader.load(small[name][: len(small[name]) // 2])
        except ImageError:
            pass
"""


@pytest.mark.slow
def test_lack_of_memory_raises_memory_error() -> None:
    done = subprocess.run([sys.executable, "-c", DECODE], cwd=ROOT, capture_output=True, text=True, check=True)
    answers = [line.split() for line in done.stdout.splitlines()]
    assert len(answers) == 12
    assert {kind for _, _, kind in answers} == {"MemoryError"}, answers
