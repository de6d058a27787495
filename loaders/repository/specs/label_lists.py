"""Class names as exporters write them: lists, or mappings by class id."""

from collections.abc import Mapping, Sequence

from loaders.model_errors import ModelSpecError

MAX_LABELS = 100_000


def labels_of(where: str, value: object) -> tuple[str, ...] | None:
    """Reads a list of names or {"0": name}; missing ids become "class 3". Returns None for anything else.

    Raises ModelSpecError for invalid ids.
    """
    if isinstance(value, Mapping):
        return _by_id(where, value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if len(value) > MAX_LABELS:
            raise ModelSpecError(f"{where}: more than {MAX_LABELS} labels")
        return tuple(str(name) for name in value) or None
    return None


def _by_id(where: str, names: Mapping[object, object]) -> tuple[str, ...] | None:
    by_id = {_class_id(where, key): str(name) for key, name in names.items()}
    return tuple(by_id.get(i, f"class {i}") for i in range(max(by_id) + 1)) if by_id else None


def _class_id(where: str, key: object) -> int:
    text = str(key)
    if not text.isascii() or not text.isdecimal() or len(text) > 6 or int(text) >= MAX_LABELS:
        raise ModelSpecError(f"{where}: expected class ids from 0 to {MAX_LABELS - 1}, got {text[:40]!r}")
    return int(text)
