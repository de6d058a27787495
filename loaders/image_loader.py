"""Creates image loaders by name. A new one is a class in `loaders/images/` and a line in `_LOADERS`."""

from collections.abc import Callable

from loaders.images.base import ImageLoader, ImageLoaderOptions


def _opencv(options: ImageLoaderOptions) -> ImageLoader:
    from loaders.images.opencv_loader import OpenCVImageLoader

    return OpenCVImageLoader(options)


def _pillow(options: ImageLoaderOptions) -> ImageLoader:
    from loaders.images.pillow_loader import PillowImageLoader

    return PillowImageLoader(options)


_LOADERS: dict[str, Callable[[ImageLoaderOptions], ImageLoader]] = {"opencv": _opencv, "pillow": _pillow}


def image_loader_names() -> tuple[str, ...]:
    return tuple(_LOADERS)


def create_image_loader(name: str, options: ImageLoaderOptions | None = None) -> ImageLoader:
    """Raises ValueError for a name that is not in `image_loader_names()`."""
    if name not in _LOADERS:
        raise ValueError(f"unknown image loader {name!r}; available: {', '.join(_LOADERS)}")
    return _LOADERS[name](options or ImageLoaderOptions())
