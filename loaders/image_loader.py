"""Creates image loaders by name. A new one is a class in `loaders/images/` and an entry in `_LOADERS`."""

from loaders.images.base import ImageLoader, ImageLoaderOptions
from loaders.images.opencv_loader import OpenCVImageLoader
from loaders.images.pillow_loader import PillowImageLoader

DEFAULT_IMAGE_LOADER = "opencv"
_LOADERS = {"opencv": OpenCVImageLoader, "pillow": PillowImageLoader}


def image_loader_names() -> tuple[str, ...]:
    return tuple(_LOADERS)


def create_image_loader(name: str = DEFAULT_IMAGE_LOADER, options: ImageLoaderOptions | None = None) -> ImageLoader:
    """Raises ValueError for a name that is not in `image_loader_names()`."""
    if name not in _LOADERS:
        raise ValueError(f"unknown image loader {name!r}; available: {', '.join(_LOADERS)}")
    return _LOADERS[name](options or ImageLoaderOptions())
