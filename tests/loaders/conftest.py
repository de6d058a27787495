"""Fixtures of the loaders' tests."""

import pytest

from loaders.images.base import ImageLoaderOptions
from tests import pictures


@pytest.fixture(scope="session")
def limits() -> ImageLoaderOptions:
    """Limits that keep tests of damaged files cheap."""
    return ImageLoaderOptions(max_pixels=2_000_000)


@pytest.fixture(scope="session")
def samples() -> dict[str, bytes]:
    """One small valid file for every format that the installed encoders write."""
    scene = pictures.scene(40, 24)
    options: dict[str, dict[str, object]] = {"TIFF": {"compression": "tiff_lzw"}, "AVIF": {"speed": 10}}
    names = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
    files = {name: pictures.encode(scene, name, **options.get(name, {})) for name in names}
    files["JPEG progressive"] = pictures.encode(scene, "JPEG", progressive=True)
    files["JPEG turned"] = pictures.rotated_twin(scene, "JPEG", 6)
    files["PNG turned"] = pictures.rotated_twin(scene, "PNG", 6)
    files["WebP turned"] = pictures.rotated_twin(scene, "WEBP", 6)
    return files
