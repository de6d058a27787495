"""Every setting of the service: `API_<NAME>` in the environment beats `api_settings.env` beats the default here.

README's table and api_settings.env hold the same names and defaults; a test compares them.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from engine.models.load_policy import LoadPolicy
from engine.scheduling.run_plan import TuneLevel
from loaders.image_loader import image_loader_names
from loaders.model_loader import model_loader_names
from loaders.repository.names import MODEL_NAME
from loaders.runtimes.base import AUTO, PROVIDER_NAMES
from utils.cpu_budget import cpu_budget

PROJECT = Path(__file__).resolve().parent.parent
SETTINGS_FILE = "api_settings.env"
PREFIX = "API_"

_MIB = 1024 * 1024
# Unless somebody asks for more: each has memory of its own.
_MOST_WORKERS = 8
_SECRETS = {"keys", "admin_keys"}
_HASHED_KEY = re.compile(r"sha256:[0-9a-f]{64}")
_ORIGIN = re.compile(r"https?://[^/\s*?#@\\]+")
PROTECTABLE = ("docs", "metrics")

Names = Annotated[tuple[str, ...], NoDecode]


class SettingsError(Exception):
    """A value that cannot be used: the message has the variable, the value and what is allowed."""


class ApiSettings(BaseSettings):
    """Frozen: a change takes a restart. Lists are written with commas."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=PROJECT / SETTINGS_FILE,
        env_file_encoding="utf-8",
        frozen=True,
        extra="forbid",
    )

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for all.")
    port: int = Field(8000, ge=0, le=65_535, description="TCP port; 0 takes a free one.")

    models_dir: Path = Field(
        Path("models"), description="Folder of the models; a relative path starts at the project's folder."
    )
    default_model: str = Field(
        "efficientnet-lite0",
        pattern=f"^{MODEL_NAME.pattern}$",
        description="Model that answers when a request names none.",
    )
    load: LoadPolicy = Field(
        LoadPolicy.DEFAULT, description="Loaded before anybody asks: all models, the default one, or none (on-demand)."
    )
    max_loaded_models: int = Field(
        0, ge=0, description="Most versions in memory, the default model stays; 0: no limit."
    )
    idle_unload_s: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="A model nobody asks for leaves memory after so long, s; 0: never."
    )
    max_model_bytes: int = Field(2**30, ge=1, description="Largest uploaded model, bytes; above: 413.")
    check_timeout_s: float = Field(
        60.0, gt=0, le=3600, description="Time for a model's check in a process of its own, s."
    )
    check_memory_mb: int = Field(8192, ge=512, le=2**20, description="Memory (address space) for that process, MiB.")
    cache_dir: Path = Field(
        Path(".cache"), description="Folder for what need not be done again; relative: in the project's folder."
    )
    image_loader: str = Field("opencv", description="Decoder of pictures: opencv or pillow.")
    model_loader: str = Field("onnxruntime", description="Runtime of models: onnxruntime.")
    providers: Names = Field(
        ("auto",),
        description="Execution providers, best first: cpu, cuda, tensorrt, openvino, coreml, directml; auto: the best "
        "that comes up.",
    )
    workers: int = Field(
        0, ge=0, le=256, description="Processes that serve; they share the cores. 0: one a core, 8 at most."
    )
    crash_limit: int = Field(
        3, ge=0, description="Crashes of workers in an hour after which a version is not run any more: 503; 0: never."
    )
    drain_seconds: float = Field(
        0.0,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="Time between not being ready (SIGTERM) and taking no more connections, s.",
    )
    lanes: int = Field(
        0,
        ge=0,
        le=1024,
        description="Pictures worked on at once; 0: as many as there are cores.",
    )
    tune: TuneLevel = Field(
        TuneLevel.QUICK,
        description="Measure at a model's first load how it runs best here: off, quick (a second or so) or full.",
    )
    width: int = Field(
        0, ge=0, le=1024, description="Cores that one run may use when the others are idle; 0: what was measured."
    )
    max_batch: int = Field(
        0, ge=0, le=1024, description="Most pictures of one run, where several wait; 0: what was measured."
    )
    batch_wait_ms: float = Field(
        0.0,
        ge=0,
        le=1000,
        allow_inf_nan=False,
        description="Time a run may wait for its batch to fill, ms; 0: it never waits.",
    )

    max_upload_bytes: int = Field(20 * _MIB, ge=1, description="Largest picture, bytes; above: 413.")
    max_arriving_mb: int = Field(
        1024, ge=1, description="Memory for pictures that are still arriving, all together, MiB; above: 503."
    )
    max_batch_images: int = Field(64, ge=1, le=10_000, description="Most pictures in one /infer/batch; above: 413.")
    max_image_pixels: int = Field(
        100_000_000, ge=1, description="Most pixels of a picture, read before decoding; above: 413."
    )
    accept_truncated: bool = Field(False, description="Accept a JPEG whose last rows (up to a tenth) are missing.")
    exact_decode: bool = Field(False, description="Decode JPEGs at full size and resize to Pillow's last bit.")

    queue_limit: int = Field(64, ge=0, description="Requests that may wait for each model; above: 503.")
    request_timeout_ms: int = Field(
        30_000, ge=1, description="Time from the whole picture's arrival to its answer, ms; above: 504."
    )
    body_timeout_s: float = Field(
        30.0, gt=0, le=86_400, description="Time for a request's whole body to arrive, s; above: 408."
    )
    header_timeout_s: float = Field(
        10.0,
        gt=0,
        le=86_400,
        description="Time for a request's headers to arrive, from its first byte or the connection's opening, s; "
        "above: 408.",
    )
    send_timeout_s: float = Field(
        30.0,
        gt=0,
        le=86_400,
        description="Time in which a client must take something of its answer, s; above: the connection is cut.",
    )
    keep_alive_s: float = Field(
        65.0,
        gt=0,
        le=86_400,
        description="Time that a connection may be idle between two requests, s; then it is closed.",
    )
    rate_limit: str = Field(
        "", description="Requests a client may send, as 10/second or 600/minute; empty: no limit. Above: 429."
    )
    rate_limit_storage: str = Field(
        "",
        pattern=r"^((rediss?|unix)://.+)?$",
        description="Where the rate limit is counted, as redis://host:6379/0; empty: in each worker's memory.",
    )
    keys: Names = Field((), description="Keys that may infer, as text or sha256:<hex of it>; empty: open to all.")

    admin_keys: Names = Field((), description="Keys that may change models; empty: nobody may.")
    protect: Names = Field((), description="Addresses that need a key, too, where keys are set: docs, metrics.")
    trusted_proxies: Names = Field(
        (),
        description="Proxies, as addresses or networks (10.0.0.0/8), whose X-Forwarded-* headers count; empty: none.",
    )
    cors_origins: Names = Field(
        (), description="Web origins whose pages may ask, as https://app.example.com, or * for all; empty: none."
    )
    tls_cert: Path | None = Field(None, description="Certificate chain (PEM file) to serve HTTPS; with API_TLS_KEY.")
    tls_key: Path | None = Field(
        None, validate_default=True, description="Private key (PEM file, not encrypted) of API_TLS_CERT."
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    log_format: Literal["text", "json"] = Field("text", description="text for people, json for one object a line.")

    @property
    def worker_count(self) -> int:
        return self.workers or min(cpu_budget(), _MOST_WORKERS)

    @field_validator("models_dir", "cache_dir")
    @classmethod
    def _from_the_project(cls, value: Path) -> Path:
        return PROJECT / value

    @field_validator("providers", "keys", "admin_keys", "protect", "trusted_proxies", "cors_origins", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        parts = tuple(part.strip() for part in value.split(",") if part.strip())
        if value and not parts:
            raise ValueError("there is nothing between the commas")
        return parts

    @field_validator("providers")
    @classmethod
    def _some_provider(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("at least one is needed, such as cpu")
        for name in value:
            if name not in PROVIDER_NAMES and not name.endswith("ExecutionProvider") and value != (AUTO,):
                raise ValueError(f"{name} is none of {', '.join(PROVIDER_NAMES)}, and auto stands alone")
        return value

    @field_validator("image_loader")
    @classmethod
    def _known_image_loader(cls, value: str) -> str:
        return _one_of(value, image_loader_names())

    @field_validator("model_loader")
    @classmethod
    def _known_model_loader(cls, value: str) -> str:
        return _one_of(value, model_loader_names())

    @field_validator("keys", "admin_keys")
    @classmethod
    def _whole_hashes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(key.startswith("sha256:") and not _HASHED_KEY.fullmatch(key) for key in value):
            raise ValueError("after sha256: come 64 hexadecimal digits, lower case")
        return value

    @field_validator("protect")
    @classmethod
    def _protectable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_one_of(name, PROTECTABLE) for name in value)

    @field_validator("trusted_proxies")
    @classmethod
    def _addresses_or_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in value:
            ip_network(proxy)  # its error says what is wrong
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not _ORIGIN.fullmatch(origin) and value != ("*",):
                raise ValueError(f"{origin} is no origin such as https://app.example.com:8443, and * stands alone")
        return value

    @field_validator("tls_cert", "tls_key", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None

    @field_validator("tls_cert", "tls_key")
    @classmethod
    def _readable_file(cls, value: Path | None) -> Path | None:
        if value is None:
            return None
        file = PROJECT / value
        try:
            file.open("rb").close()
        except OSError as error:
            raise ValueError(f"it cannot be read: {error.strerror}") from None
        return file

    @field_validator("tls_key")
    @classmethod
    def _key_of_the_certificate(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if "tls_cert" not in info.data:  # it is wrong by itself
            return value
        certificate: Path | None = info.data["tls_cert"]
        if (value is None) != (certificate is None):
            raise ValueError("API_TLS_CERT and API_TLS_KEY go together; one of them is missing")
        if value and certificate:
            from api.server.tls import load_certificate

            load_certificate(certificate, value)
        return value

    @field_validator("rate_limit")
    @classmethod
    def _readable_rate(cls, value: str) -> str:
        if value:
            from limits import parse_many

            items = parse_many(value)
            if len(items) != 1 or items[0].amount < 1:
                raise ValueError("one rate of at least 1, such as 10/second")
        return value


def load_settings() -> ApiSettings:
    """Reads environment and file. Raises SettingsError with one line for every bad value."""
    try:
        return ApiSettings()
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(problem) for problem in error.errors(include_url=False))) from None


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Variables that look like a setting and are none: a misspelling, most likely."""
    known = {PREFIX + name.upper() for name in ApiSettings.model_fields}
    return sorted(name for name in environment if name.startswith(PREFIX) and name not in known)


def _explain(problem: ErrorDetails) -> str:
    """`API_PORT=99999: Input should be less than or equal to 65535`; a key's value is not shown."""
    name = str(problem["loc"][0]) if problem["loc"] else ""
    variable = name.upper() if problem["type"] == "extra_forbidden" else PREFIX + name.upper()
    value = "***" if name in _SECRETS else problem["input"]
    return f"{variable}={value}: {problem['msg'].removeprefix('Value error, ')}"


def _one_of(value: str, names: tuple[str, ...]) -> str:
    if value not in names:
        raise ValueError(f"allowed: {', '.join(names)}")
    return value
