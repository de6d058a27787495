"""Creates model loaders by name. A new one is a class in `loaders/runtimes/` and a line in `_LOADERS`."""

from collections.abc import Callable
from importlib.util import find_spec

from loaders.runtimes.base import ModelLoader

DEFAULT_MODEL_LOADER = "onnxruntime"


def _onnxruntime() -> ModelLoader:
    from loaders.runtimes.onnxruntime_loader import OnnxRuntimeLoader

    return OnnxRuntimeLoader()


def _openvino() -> ModelLoader:
    from loaders.runtimes.openvino_loader import OpenVinoLoader

    return OpenVinoLoader()


_LOADERS: dict[str, Callable[[], ModelLoader]] = {"onnxruntime": _onnxruntime, "openvino": _openvino}


def model_loader_names() -> tuple[str, ...]:
    return tuple(_LOADERS)


def is_installed(name: str) -> bool:
    """Whether the runtime's package can be imported; it is not imported."""
    return find_spec(name) is not None


def create_model_loader(name: str) -> ModelLoader:
    """Raises ValueError for a name that is not in `model_loader_names()`."""
    if name not in _LOADERS:
        raise ValueError(f"unknown model loader {name!r}; available: {', '.join(_LOADERS)}")
    return _LOADERS[name]()
