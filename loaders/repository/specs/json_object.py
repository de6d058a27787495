"""Typed access to untrusted JSON; errors name the file and the key."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from loaders.model_errors import ModelSpecError

_MAX_SHOWN = 40  # characters of a value in an error
_MAX_NUMBER = 1e9  # exporters write smaller ones


@dataclass(frozen=True, slots=True)
class JsonObject:
    """`where` names the file in errors. Missing keys and null give the default."""

    where: str
    data: Mapping[str, object]

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.data.get(key)
        return default if value is None else bool(value)

    def text(self, key: str, default: str = "") -> str:
        value = self.data.get(key)
        if value is None:
            return default
        return value if isinstance(value, str) else self.reject(key, "text")

    def number(self, key: str, default: float) -> float:
        value = self.data.get(key)
        return default if value is None else self._number(key, value)

    def integer(self, key: str) -> int | None:
        value = self.data.get(key)
        return None if value is None else self.as_integer(key, value)

    def as_integer(self, key: str, value: object) -> int:
        number = self._number(key, value)
        return int(number) if number == int(number) else self.reject(key, "a whole number")

    def numbers(self, key: str, default: tuple[float, ...]) -> tuple[float, ...]:
        """Accepts a list or a single number."""
        value = self.data.get(key)
        if value is None:
            return default
        values = value if isinstance(value, list) else [value]
        if len(values) > 16:
            self.reject(key, "a few numbers")
        return tuple(self._number(key, v) for v in values)

    def nested(self, key: str) -> "JsonObject | None":
        """Returns None if the key is missing or has another type."""
        value = self.data.get(key)
        return JsonObject(f"{self.where}: {key}", value) if isinstance(value, dict) else None

    def reject(self, key: str, expected: str) -> NoReturn:
        raise ModelSpecError(f"{self.where}: {key}: expected {expected}, got {short(self.data.get(key))}")

    def _number(self, key: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self.reject(key, "a number")
        if -_MAX_NUMBER <= value <= _MAX_NUMBER:  # NaN is not
            return float(value)
        return self.reject(key, f"a number up to {_MAX_NUMBER:.0e}")


def short(value: object) -> str:
    """Returns the value as shown in an error."""
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
