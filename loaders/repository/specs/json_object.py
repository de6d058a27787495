"""Values out of a JSON file that anybody may have written: of the right type, or an error that names the key."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from loaders.model_errors import ModelSpecError

_LARGEST = 1e9  # of any number that an exporter writes


@dataclass(frozen=True, slots=True)
class JsonObject:
    """`where` names the file, for messages. A key that is missing, or null, gives the default."""

    where: str
    data: Mapping[str, object]

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.data.get(key)
        return default if value is None else bool(value)

    def text(self, key: str, default: str = "") -> str:
        value = self.data.get(key)
        if value is None:
            return default
        return value if isinstance(value, str) else self.refuse(key, "text")

    def number(self, key: str, default: float) -> float:
        value = self.data.get(key)
        return default if value is None else self._number(key, value)

    def integer(self, key: str) -> int | None:
        value = self.data.get(key)
        return None if value is None else self.as_integer(key, value)

    def as_integer(self, key: str, value: object) -> int:
        number = self._number(key, value)
        return int(number) if number == int(number) else self.refuse(key, "a whole number")

    def numbers(self, key: str, default: tuple[float, ...]) -> tuple[float, ...]:
        """A list's, or a single number's."""
        value = self.data.get(key)
        if value is None:
            return default
        values = value if isinstance(value, list) else [value]
        if len(values) > 16:
            self.refuse(key, "a few numbers")
        return tuple(self._number(key, v) for v in values)

    def nested(self, key: str) -> "JsonObject | None":
        """None where the key is missing or holds something else."""
        value = self.data.get(key)
        return JsonObject(f"{self.where}: {key}", value) if isinstance(value, dict) else None

    def refuse(self, key: str, expected: str) -> NoReturn:
        raise ModelSpecError(f"{self.where}: {key}: should be {expected}")

    def _number(self, key: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self.refuse(key, "a number")
        if -_LARGEST <= value <= _LARGEST:  # NaN is not
            return float(value)
        return self.refuse(key, f"a number up to {_LARGEST:.0e}")
