"""README, api_settings.env and the code tell the same story."""

import re
from collections.abc import Mapping
from pathlib import Path

from pydantic.fields import FieldInfo

from api.problems import INTERNAL_ERROR, KINDS
from api.settings import PREFIX, PROJECT, SETTINGS_FILE, ApiSettings
from loaders.repository.specs.model_spec import ModelSpec, PreprocessSpec
from tests.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_lists_every_setting_with_its_default_and_help() -> None:
    rows = [f"| `{variable}` | {_code(default)} | {text} |" for variable, default, text in _settings()]
    table = "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])
    assert table in README, f"README.md should have:\n{table}"


def test_the_settings_file_has_every_setting_with_its_default_and_survives_xargs() -> None:
    lines = (ROOT / SETTINGS_FILE).read_text(encoding="utf-8").splitlines()
    values = [line for line in lines if line and not line.startswith("#")]
    expected = [f"{variable}={default}" for variable, default, _ in _settings()]
    assert values == expected
    assert not [value for value in values if re.search(r"""[\s"'\\$`#]""", value)]


def test_the_readme_lists_every_error_code() -> None:
    rows = {(int(status), code) for status, code in re.findall(r"^\| (\d{3}) \| `(\w+)` \|", README, re.MULTILINE)}
    assert rows == {(kind.status, kind.code) for kind in (*KINDS.values(), INTERNAL_ERROR)}


def test_the_readme_lists_every_field_of_model_toml() -> None:
    fields = [*_fields(ModelSpec.model_fields, ""), *_fields(PreprocessSpec.model_fields, "preprocess.")]
    table = "\n".join(["| field | default | meaning |", "|---|---|---|", *fields])
    assert table in README, f"README.md should have:\n{table}"


def test_the_readme_shows_the_default_model_s_own_model_toml() -> None:
    toml = (ROOT / "models" / "efficientnet-lite0" / "model.toml").read_text()
    shown = "\n".join(line for line in toml.splitlines() if not line.startswith("#"))
    assert shown.strip() in README


def _settings() -> list[tuple[str, str, str]]:
    return [
        (PREFIX + name.upper(), _written(field.get_default(call_default_factory=True)), field.description or "")
        for name, field in ApiSettings.model_fields.items()
    ]


def _fields(fields: Mapping[str, FieldInfo], prefix: str) -> list[str]:
    return [
        f"| `{prefix}{name}` | {_code(_written(field.default))} | {field.description} |"
        for name, field in fields.items()
        if name != "preprocess"
    ]


def _written(value: object) -> str:
    """As a person writes it in the environment."""
    match value:
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(str(part) for part in value)
        case Path():
            return str(value.relative_to(PROJECT) if value.is_absolute() else value)
        case float() if value.is_integer():
            return str(int(value))
        case None:
            return ""
        case _:
            return "" if "Undefined" in str(value) else str(value)


def _code(value: str) -> str:
    return f"`{value}`" if value else ""
