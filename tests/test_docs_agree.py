"""The docs agree with the code, with api_settings.env, and with each other."""

import ast
import re
from collections.abc import Mapping
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic.fields import FieldInfo

from api.problems import INTERNAL_ERROR, KINDS
from api.settings import PREFIX, PROJECT, SETTINGS_FILE, ApiSettings
from loaders.repository.specs.model_spec import ModelSpec, PreprocessSpec
from tests import api_reference
from tests.conftest import Serve
from tests.pages import DOCS, PAGES, README, anchors, commands, links, page_id, read
from tests.paths import CAT, ROOT

DOCS_FOLDER = ROOT / "docs"
# Errors without an exception of Fovea's: from the router, and from the header limits of `python main.py`.
OTHER_ERRORS = {
    (404, "not_found"),
    (405, "method_not_allowed"),
    (400, "malformed_request"),
    (408, "headers_too_slow"),
    (431, "headers_too_large"),
}
UNITS = {"bytes": "bytes", "mb": "MiB", "s": "s", "seconds": "s", "ms": "ms", "pixels": "pixels", "images": "pictures"}
UNITS_BY_NAME = {"max_batch": "pictures"}
# Names of settings that bound something.
LIMIT = re.compile(r"^max_|_limit$|_timeout_|_unload_|^drain_")


def test_settings_page_has_every_setting() -> None:
    """Name, default, unit, bounds and meaning; the order is the page's own."""
    shown = {line for line in read(DOCS_FOLDER / "settings.md").splitlines() if line.startswith(f"| `{PREFIX}")}
    meanings = _meanings()
    expected = {_settings_row(name, field, meanings[name]) for name, field in ApiSettings.model_fields.items()}
    missing, unexpected = "\n".join(sorted(expected - shown)), "\n".join(sorted(shown - expected))
    assert shown == expected, f"docs/settings.md lacks:\n{missing}\nand should not have:\n{unexpected}"


def test_settings_file_has_every_setting_with_its_default() -> None:
    """Without characters that `export $(... | xargs)` would interpret."""
    lines = (ROOT / SETTINGS_FILE).read_text(encoding="utf-8").splitlines()
    values = [line for line in lines if line and not line.startswith("#")]
    fields = ApiSettings.model_fields.items()
    assert values == [f"{PREFIX}{name.upper()}={_default(field)}" for name, field in fields]
    assert not [value for value in values if re.search(r"""[\s"'\\$`#]""", value)]


def test_api_page_lists_every_error_code() -> None:
    table = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", read(DOCS_FOLDER / "api.md"), re.MULTILINE)
    raised = {(kind.status, kind.code) for kind in (*KINDS.values(), INTERNAL_ERROR)}
    assert {(int(status), code) for status, code in table} == raised | OTHER_ERRORS
    assert len(table) == len(set(table))


def test_reference_page_is_the_openapi_document() -> None:
    assert read(api_reference.PAGE) == api_reference.render(api_reference.openapi()), "python -m tests.api_reference"


def test_operate_page_lists_every_metric(serve: Serve) -> None:
    """Except those that prometheus_client itself adds."""
    client = serve().client
    client.post("/infer", content=CAT.read_bytes())
    families = re.findall(r"^# TYPE (\w+) (\w+)$", client.get("/metrics").text, re.MULTILINE)
    served = {(name, kind) for name, kind in families if not re.match(r"process_|python_|.*_created$", name)}
    assert set(re.findall(r"^\| `(\w+)` \| (\w+) \|", read(DOCS_FOLDER / "operate.md"), re.MULTILINE)) == served


def test_alerts_use_metrics_and_codes_that_exist() -> None:
    page, alerts = read(DOCS_FOLDER / "operate.md"), read(ROOT / "deploy" / "prometheus" / "rules.yaml")
    metrics = set(re.findall(r"^\| `(\w+)` \| \w+ \|", page, re.MULTILINE))
    used = re.findall(r"fovea_\w+", " ".join(re.findall(r"expr:.*(?:\n {10}.*)*", alerts)))
    assert used
    assert {name.removesuffix("_bucket") for name in used} <= metrics
    codes = {code for codes in re.findall(r'code=~?"([\w|]+)"', alerts) for code in codes.split("|")}
    assert codes
    assert codes <= {kind.code for kind in (*KINDS.values(), INTERNAL_ERROR)}


def test_models_page_lists_every_field_of_model_toml() -> None:
    fields = [*_spec_rows(ModelSpec.model_fields, ""), *_spec_rows(PreprocessSpec.model_fields, "preprocess.")]
    table = "\n".join(["| field | default | meaning |", "|---|---|---|", *fields])
    assert table in read(DOCS_FOLDER / "models.md"), f"docs/models.md should have:\n{table}"


def test_models_page_shows_the_default_models_model_toml() -> None:
    toml = (ROOT / "models" / "efficientnet-lite0" / "model.toml").read_text(encoding="utf-8")
    shown = "\n".join(line for line in toml.splitlines() if not line.startswith("#"))
    assert shown.strip() in read(DOCS_FOLDER / "models.md")


def test_links_resolve() -> None:
    for page, link in [(each, link) for each in PAGES for link in links(each)]:
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), (page, link)
        assert not anchor or anchor in anchors(target), (page, link)


@pytest.mark.parametrize("page", DOCS, ids=page_id)
def test_contents_list_every_section(page: Path) -> None:
    """In order, before the first section."""
    contents = read(page).partition("\n## ")[0]
    assert re.findall(r"\]\(#([\w-]+)\)", contents) == anchors(page, "##")


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in PAGES:
        named = {found[1] for command in commands(page) if (found := re.match(r"make ([a-z][\w-]*)", command))}
        assert named <= targets, page


@pytest.mark.parametrize("page", [README, *DOCS], ids=page_id)
def test_named_test_files_exist(page: Path) -> None:
    missing = [name for name in re.findall(r"`(tests/[\w/]+\.\w+)`", read(page)) if not (ROOT / name).is_file()]
    assert not missing


def test_reliability_page_has_a_test_for_each_row() -> None:
    for heading in ("Guarantees", "Limits", "Faults", "Known problems of similar services"):
        rows = _rows(heading)
        assert rows
        assert not [row for row in rows if "`tests/" not in row]


def test_reliability_page_has_every_limit() -> None:
    names = {PREFIX + name.upper() for name in ApiSettings.model_fields if LIMIT.search(name)}
    assert set(re.findall(r"`(API_\w+)`", "\n".join(_rows("Limits")))) == names


@pytest.mark.parametrize("page", [README, *DOCS], ids=page_id)
def test_named_settings_exist(page: Path) -> None:
    known = {PREFIX + name.upper() for name in ApiSettings.model_fields}
    assert set(re.findall(r"`(API_[A-Z_]+[A-Z])[`=]", read(page))) <= known


def test_decisions_are_dated_short_and_listed() -> None:
    folder = DOCS_FOLDER / "decisions"
    files = {file.name: file for file in folder.glob("*.md") if file.name != "README.md"}
    assert not [name for name in files if not re.fullmatch(r"\d{4}-\d{2}-\d{2}-[a-z0-9-]+\.md", name)]
    assert not [name for name, file in files.items() if len(read(file).splitlines()) > 40]
    assert set(links(folder / "README.md")) == set(files)


def _rows(heading: str) -> list[str]:
    """The rows of the reliability page's table under that heading."""
    section = read(DOCS_FOLDER / "reliability.md").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("|")][2:]


def _meanings() -> dict[str, str]:
    """The string below each setting."""
    source = ast.parse((ROOT / "api" / "settings.py").read_text(encoding="utf-8"))
    [settings] = [node for node in source.body if isinstance(node, ast.ClassDef)]
    return {
        ast.unparse(field.target): str(ast.literal_eval(text.value))
        for field, text in pairwise(settings.body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }


def _settings_row(name: str, field: FieldInfo, meaning: str) -> str:
    cells = [_code(_default(field)), _unit(name), _allowed(field), meaning]
    return f"| `{PREFIX}{name.upper()}` | {' | '.join(cells)} |"


def _unit(name: str) -> str:
    return UNITS_BY_NAME.get(name) or UNITS.get(name.rpartition("_")[2], "")


def _allowed(field: FieldInfo) -> str:
    """The values or bounds, as the page writes them."""
    kind: Any = field.annotation
    if kind is bool:
        return "true, false"
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return ", ".join(kind)
    if choices := [choice for choice in get_args(kind) if isinstance(choice, str)]:
        return ", ".join(choices)
    low, above, high = (_bound(field, of) for of in ("ge", "gt", "le"))
    if above:
        return f"above {above}, to {high}" if high else f"above {above}"
    if low:
        return f"{low} to {high}" if high else f"{low} or more"
    return ""


def _bound(field: FieldInfo, attribute: str) -> str:
    found = [getattr(bound, attribute) for bound in field.metadata if hasattr(bound, attribute)]
    return f"{found[0]:.10g}" if found else ""


def _spec_rows(fields: Mapping[str, FieldInfo], prefix: str) -> list[str]:
    return [
        f"| `{prefix}{name}` | {_code(_default(field))} | {field.description} |"
        for name, field in fields.items()
        if name != "preprocess"
    ]


def _default(field: FieldInfo) -> str:
    """As a person writes it in the environment."""
    match field.get_default(call_default_factory=True):
        case bool() as value:
            return str(value).lower()
        case tuple() as value:
            return ",".join(str(part) for part in value)
        case Path() as value:
            return str(value.relative_to(PROJECT) if value.is_absolute() else value)
        case float() as value if value.is_integer():
            return str(int(value))
        case None:
            return ""
        case value:
            return "" if "Undefined" in str(value) else str(value)


def _code(value: str) -> str:
    return f"`{value}`" if value else ""
