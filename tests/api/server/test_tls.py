"""Certificates and keys that cannot be used stop the start; tests/e2e/test_tls.py serves with one."""

from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from api.server.tls import server_context
from api.settings import ApiSettings, SettingsError, load_settings
from tests.certificates import issue


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> tuple[Path, Path]:
    return issue(authority, tmp_path)


def test_without_a_certificate_there_is_no_tls() -> None:
    assert server_context(ApiSettings(_env_file=None)) is None


@pytest.mark.parametrize(
    ("certificate", "key", "variable", "told"),
    [
        ("cert.pem", "", "API_TLS_KEY", "go together"),
        ("", "key.pem", "API_TLS_KEY", "go together"),
        ("missing.pem", "key.pem", "API_TLS_CERT", "No such file"),
        (".", "key.pem", "API_TLS_CERT", "Is a directory"),
        ("key.pem", "key.pem", "API_TLS_KEY", "not a valid PEM file"),
        ("empty.pem", "key.pem", "API_TLS_KEY", "not a valid PEM file"),
        ("cert.pem", "other.pem", "API_TLS_KEY", "do not belong together"),
        ("cert.pem", "encrypted.pem", "API_TLS_KEY", "is encrypted"),
    ],
)
def test_files_that_cannot_be_used_stop_the_start_and_name_the_variable(
    files: tuple[Path, Path],
    authority: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
    certificate: str,
    key: str,
    variable: str,
    told: str,
) -> None:
    folder = files[0].parent
    (folder / "empty.pem").touch()
    authority.issue_cert("other").private_key_pem.write_to_path(folder / "other.pem")
    (folder / "encrypted.pem").write_bytes(encrypted(files[1].read_bytes()))
    monkeypatch.setenv("API_TLS_CERT", str(folder / certificate) if certificate else "")
    monkeypatch.setenv("API_TLS_KEY", str(folder / key) if key else "")
    with pytest.raises(SettingsError) as error:
        load_settings()
    [line] = str(error.value).splitlines()
    assert line.startswith(f"{variable}=")
    assert told in line


def encrypted(key: bytes) -> bytes:
    return load_pem_private_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
    )
