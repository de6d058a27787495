"""An invalid certificate or key stops the start. tests/e2e/test_tls.py serves HTTPS."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from api.environment import SettingsError, load_settings
from api.server.run import serve
from api.server.tls import CertificateExpiry
from tests.certificates import issue
from tests.server import service_settings


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> tuple[Path, Path]:
    return issue(authority, tmp_path)


@pytest.mark.parametrize(
    ("certificate", "key", "variable", "reason"),
    [
        ("cert.pem", "", "API_TLS_KEY", "must be set together"),
        ("", "key.pem", "API_TLS_KEY", "must be set together"),
        ("missing.pem", "key.pem", "API_TLS_CERT", "No such file"),
        (".", "key.pem", "API_TLS_CERT", "Is a directory"),
    ],
)
def test_unreadable_file_stops_the_start_with_its_variable(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, certificate: str, key: str, variable: str, reason: str
) -> None:
    folder = files[0].parent
    monkeypatch.setenv("API_TLS_CERT", str(folder / certificate) if certificate else "")
    monkeypatch.setenv("API_TLS_KEY", str(folder / key) if key else "")
    with pytest.raises(SettingsError) as error:
        load_settings()
    [line] = str(error.value).splitlines()
    assert line.startswith(f"{variable}=")
    assert reason in line


@pytest.mark.parametrize(
    ("certificate", "key", "reason"),
    [
        ("key.pem", "key.pem", "not a valid PEM file"),
        ("empty.pem", "key.pem", "not a valid PEM file"),
        ("cert.pem", "other.pem", "not the certificate's key"),
        ("cert.pem", "encrypted.pem", "is encrypted"),
    ],
)
def test_invalid_file_stops_the_start(
    files: tuple[Path, Path],
    authority: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    certificate: str,
    key: str,
    reason: str,
) -> None:
    folder = files[0].parent
    (folder / "empty.pem").touch()
    authority.issue_cert("other").private_key_pem.write_to_path(folder / "other.pem")
    (folder / "encrypted.pem").write_bytes(encrypted(files[1].read_bytes()))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    assert serve(service_settings(tls_cert=folder / certificate, tls_key=folder / key)) == 1
    assert reason in capsys.readouterr().err


def encrypted(key: bytes) -> bytes:
    return load_pem_private_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
    )


@pytest.mark.parametrize("year", [2021, 2035, 2055])
def test_the_end_of_validity_is_read_from_the_certificate_in_use(
    files: tuple[Path, Path], authority: trustme.CA, year: int
) -> None:
    expiry = CertificateExpiry(*files)
    now = expiry()
    ends = datetime(year, 5, 4, 3, 2, 1, tzinfo=UTC)
    issue(authority, files[0].parent, not_before=datetime(2020, 1, 1, tzinfo=UTC), not_after=ends)
    assert expiry() == ends.timestamp() != now
    files[0].write_text("half of a certificate")
    assert expiry() == ends.timestamp()
