"""Class names as exporters write them: lists, or dictionaries by class id."""

from collections.abc import Mapping, Sequence

from loaders.model_errors import ModelSpecError

MOST_LABELS = 100_000


def labels_of(where: str, value: object) -> tuple[str, ...] | None:
    """Of a list of names or of {"0": name}; ids that are left out keep their number. None for anything else.

    Raises ModelSpecError for ids that are no class ids.
    """
    if isinstance(value, Mapping):
        return _by_id(where, value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if len(value) > MOST_LABELS:
            raise ModelSpecError(f"{where}: more than {MOST_LABELS} labels")
        return tuple(str(name) for name in value) or None
    return None


def _by_id(where: str, names: Mapping[object, object]) -> tuple[str, ...] | None:
    by_id = {_class_id(where, key): str(name) for key, name in names.items()}
    return tuple(by_id.get(i, f"class {i}") for i in range(max(by_id) + 1)) if by_id else None


def _class_id(where: str, key: object) -> int:
    text = str(key)
    if not text.isascii() or not text.isdecimal() or len(text) > 6 or int(text) >= MOST_LABELS:
        raise ModelSpecError(f"{where}: {text[:40]!r} is no class id from 0 to {MOST_LABELS - 1}")
    return int(text)
