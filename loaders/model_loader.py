"""The factory of model loaders. A new runtime is one class in `loaders/runtimes/` and one line in `_LOADERS`."""

from collections.abc import Callable

from loaders.runtimes.base import ModelLoader


DEFAULT_MODEL_LOADER = "onnxruntime"


def _onnxruntime() -> ModelLoader:
    from loaders.runtimes.onnxruntime_loader import OnnxRuntimeLoader

    return OnnxRuntimeLoader()


_LOADERS: dict[str, Callable[[], ModelLoader]] = {"onnxruntime": _onnxruntime}


def model_loader_names() -> tuple[str, ...]:
    return tuple(_LOADERS)


def create_model_loader(name: str) -> ModelLoader:
    """The loader of that name. Raises ValueError for a name that is not in `model_loader_names()`."""
    if name not in _LOADERS:
        raise ValueError(f"no model loader {name!r}; there are: {', '.join(_LOADERS)}")
    return _LOADERS[name]()
