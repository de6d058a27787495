from pathlib import Path

import pytest

from api.environment import SettingsError, load_settings, unknown_variables
from api.settings import ApiSettings
from tests.server import service_settings

BAD = [
    ("API_PORT", "99999", "65535"),
    ("API_PORT", "http", "integer"),
    ("API_DEFAULT_MODEL", "../x", "pattern"),
    ("API_PROVIDERS", ",", "separated by commas"),
    ("API_PROVIDERS", "", "at least one"),
    ("API_PROVIDERS", "gpu", "cpu, cuda"),
    ("API_IDLE_UNLOAD_S", "inf", "finite"),
    ("API_RATE_LIMIT", "0/second", "at least 1"),
    ("API_RATE_LIMIT", "10/second;5/minute", "one rate"),
    ("API_LOAD", "some", "'all', 'default' or 'on-demand'"),
    ("API_MAX_UPLOAD_BYTES", "-1", "greater than or equal to 1"),
    ("API_BODY_TIMEOUT_S", "0", "greater than 0"),
    ("API_RATE_LIMIT", "many", "many"),
    ("API_LOG_FORMAT", "xml", "'text' or 'json'"),
    ("API_PROTECT", "health", "'docs' or 'metrics'"),
    ("API_DIALECTS", "v3", "'v2', 'hf', 'openai' or 'deepstack'"),
    ("API_TRUSTED_PROXIES", "10.0.0.1/8", "host bits"),
    ("API_TRUSTED_PROXIES", "*", "does not appear to be"),
    ("API_TRUSTED_PROXIES", "proxy.local", "does not appear to be"),
    ("API_CORS_ORIGINS", "example.com", "invalid origin"),
    ("API_CORS_ORIGINS", "https://example.com/", "invalid origin"),
    ("API_CORS_ORIGINS", "*,https://example.com", "alone"),
    ("API_ACCEPT_TRUNCATED", "perhaps", "boolean"),
    ("API_FONT", "README.md", "not a TrueType or OpenType font"),
    ("API_FONT", "no/such.ttf", "No such file"),
]


@pytest.mark.parametrize(("variable", "value", "allowed"), BAD)
def test_invalid_value_is_reported_with_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, allowed: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    text = str(caught.value)
    assert text.startswith(f"{variable}={value}: ")
    assert allowed in text


def test_invalid_key_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEYS", "sha256:abc")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "abc" not in str(caught.value)


def test_keys_of_only_commas_stop_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEYS", ",")
    with pytest.raises(SettingsError, match="API_KEYS"):
        load_settings()


def test_all_invalid_values_are_reported_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_PORT", "x")
    monkeypatch.setenv("API_CONCURRENCY", "x")
    with pytest.raises(SettingsError, match=r"(?s)API_PORT.*\n.*API_CONCURRENCY"):
        load_settings()


def test_environment_beats_file_beats_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    file.write_text("API_PORT=1111\nAPI_CONCURRENCY=7\n")
    monkeypatch.setenv("API_PORT", "2222")
    settings = ApiSettings(_env_file=file)
    assert (settings.port, settings.concurrency, settings.host) == (2222, 7, "127.0.0.1")


def test_lists_are_split_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_PROVIDERS", "cuda, cpu")
    monkeypatch.setenv("API_KEYS", "")
    settings = load_settings()
    assert settings.providers == ("cuda", "cpu")
    assert settings.keys == ()


def test_runtime_that_is_not_installed_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.settings.is_installed", lambda _: False)
    monkeypatch.setenv("API_MODEL_LOADER", "openvino")
    with pytest.raises(SettingsError, match=r"API_MODEL_LOADER.*install requirements/openvino\.txt"):
        load_settings()


def test_misspelt_variable_is_found() -> None:
    assert unknown_variables({"API_PROT": "1", "API_PORT": "1", "PATH": ""}) == ["API_PROT"]


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        ApiSettings(_env_file=None).port = 1  # type: ignore[misc]  # that is what is tested


@pytest.mark.parametrize(
    ("old", "change"),
    [("API_LANES", "renamed to API_CONCURRENCY"), ("API_CRASH_LIMIT", "removed; the service manager restarts")],
)
def test_setting_of_an_earlier_version_stops_the_start(monkeypatch: pytest.MonkeyPatch, old: str, change: str) -> None:
    monkeypatch.setenv(old, "2")
    with pytest.raises(SettingsError, match=f"{old}: {change}"):
        load_settings()


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 1), (4, 1), (7, 1), (8, 2), (64, 16)])
def test_default_is_one_worker_for_every_four_cores(monkeypatch: pytest.MonkeyPatch, cores: int, workers: int) -> None:
    monkeypatch.setattr("api.settings.cpu_budget", lambda: cores)
    assert service_settings().worker_count == workers
    assert service_settings(workers=3).worker_count == 3


@pytest.mark.parametrize(
    ("installed", "dialects", "reason"), [(None, "v2", "requirements/grpc.txt"), (1, "hf", "API_DIALECTS")]
)
def test_grpc_needs_its_packages_and_its_dialect(
    monkeypatch: pytest.MonkeyPatch, installed: object, dialects: str, reason: str
) -> None:
    monkeypatch.setattr("api.settings.find_spec", lambda _: installed)
    monkeypatch.setenv("API_GRPC_PORT", "8001")
    monkeypatch.setenv("API_DIALECTS", dialects)
    with pytest.raises(SettingsError, match=f"API_GRPC_PORT=8001: gRPC .*{reason}"):
        load_settings()
