"""Every setting of the service: `API_<NAME>` in the environment beats `api_settings.env` beats the default here.

docs/settings.md and api_settings.env hold the same names, defaults and texts; a test compares them.
"""

import re
from importlib.util import find_spec
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from engine.models.load_policy import LoadPolicy
from loaders.model_loader import DEFAULT_MODEL_LOADER, is_installed, model_loader_names
from loaders.repository.names import MODEL_NAME
from loaders.runtimes.base import AUTO, PROVIDER_NAMES
from utils.cpu_budget import cpu_budget

PROJECT = Path(__file__).resolve().parent.parent
SETTINGS_FILE = "api_settings.env"
PREFIX = "API_"

_MIB = 1024 * 1024
_CORES_PER_WORKER = 4
_LISTS = ("providers", "keys", "admin_keys", "protect", "trusted_proxies", "cors_origins", "dialects")
_HASHED_KEY = re.compile(r"sha256:[0-9a-f]{64}")
_ORIGIN = re.compile(r"https?://[^/\s*?#@\\]+")

Dialect = Literal["v2", "hf", "openai", "deepstack"]  # api/dialects/registry.py creates them
_Names = Annotated[tuple[str, ...], NoDecode]
_Port = Annotated[int, Field(ge=0, le=65_535)]
_Count = Annotated[int, Field(ge=0, le=1024)]
_Positive = Annotated[int, Field(ge=1)]


class ApiSettings(BaseSettings):
    """Frozen: a change takes a restart. Lists are separated by commas."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=PROJECT / SETTINGS_FILE,
        env_file_encoding="utf-8",
        frozen=True,
        extra="forbid",
    )

    host: str = "127.0.0.1"
    """Address to listen on. 0.0.0.0: all IPv4 addresses."""
    port: _Port = 8000
    """TCP port. 0: any free port."""
    workers: Annotated[int, Field(ge=0, le=256)] = 0
    """Worker processes. 0: one for every four cores of the CPU budget, at least one."""
    keep_alive_s: Annotated[int, Field(ge=1, le=86_400)] = 65
    """Seconds that an idle connection is kept open."""
    drain_seconds: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = 0
    """Seconds between SIGTERM, which makes readiness 503, and the stop. Requests are served meanwhile."""
    tls_cert: Path | None = None
    """Certificate chain (PEM file) to serve HTTPS; with API_TLS_KEY."""
    tls_key: Annotated[Path | None, Field(validate_default=True)] = None
    """Private key of API_TLS_CERT (PEM file, not encrypted)."""

    models_dir: Path = Path("models")
    """Models folder, relative to the project's folder."""
    default_model: Annotated[str, Field(pattern=f"^{MODEL_NAME.pattern}$")] = "efficientnet-lite0"
    """Model that answers requests without a model name."""
    load: LoadPolicy = LoadPolicy.DEFAULT
    """Models to load at start: all, default, or none (on-demand)."""
    max_loaded_models: Annotated[int, Field(ge=0)] = 0
    """Maximum number of model versions in memory; the default model stays. 0: no limit."""
    idle_unload_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0
    """Seconds after which an unused model is unloaded. 0: never."""
    cache_dir: Path = Path(".cache")
    """Cache folder, relative to the project's folder."""
    model_loader: str = AUTO
    """Runtime: onnxruntime, openvino, or auto: ONNX Runtime, unless OpenVINO is installed and measured to be faster."""
    precision: Literal["exact", "fast"] = "exact"
    """exact: a runtime may change answers by 1e-4 at most. fast: by 0.05; bfloat16 or an int8 twin where faster."""
    providers: _Names = ("auto",)
    """Execution providers, best first: cpu, cuda, tensorrt, openvino, coreml, directml. auto: the fastest available."""

    concurrency: _Count = 0
    """Pictures processed at the same time, by all workers together. 0: one per core."""
    intra_op_threads: _Count = 0
    """Intra-op threads of one run on an idle machine. 0: measured at load."""
    max_batch: _Count = 0
    """Maximum number of queued pictures in one run. 0: measured at load."""
    queue_limit: Annotated[int, Field(ge=0)] = 64
    """Maximum number of queued requests per model and worker. Further requests are rejected with 503."""
    request_timeout_ms: _Positive = 30_000
    """Milliseconds from the arrival of the whole picture to its answer. Above: 504."""

    max_upload_bytes: _Positive = 20 * _MIB
    """Maximum size of a picture in bytes. Above: 413."""
    max_arriving_mb: _Positive = 1024
    """Maximum memory in MiB for uploads in progress, per worker. Above: 503."""
    max_batch_images: Annotated[int, Field(ge=1, le=10_000)] = 64
    """Maximum number of pictures in one /infer/batch request. Above: 413."""
    max_image_pixels: _Positive = 100_000_000
    """Maximum number of pixels of a picture, read before decoding. Above: 413."""
    body_timeout_s: Annotated[float, Field(gt=0, le=86_400)] = 30
    """Seconds that a request's body may take to arrive. Above: 408."""
    accept_truncated: bool = False
    """Accept a JPEG whose last rows (up to a tenth) are missing."""
    exact_decode: bool = False
    """Decode JPEGs at full size and resize exactly like Pillow. Slower."""

    keys: _Names = ()
    """Keys for inference, as text or sha256:<hex digest>. Empty: no key is needed."""
    admin_keys: _Names = ()
    """Keys for changing models. Empty: models cannot be changed over HTTP."""
    protect: Annotated[tuple[Literal["docs", "metrics"], ...], NoDecode] = ()
    """Further addresses that need a key if API_KEYS is set: docs, metrics."""
    rate_limit: str = ""
    """Requests per client, such as 10/second or 600/minute. Above: 429. Empty: no limit."""
    rate_limit_storage: str = ""
    """Storage of the rate limit: redis://host:port shares it among workers. Empty: memory per worker."""
    trusted_proxies: _Names = ()
    """Addresses or networks of proxies whose X-Forwarded-* headers are used, such as 10.0.0.0/8."""
    cors_origins: _Names = ()
    """Web origins that may call the API, such as https://app.example.com, or * for all."""

    dialects: Annotated[tuple[Dialect, ...], NoDecode] = get_args(Dialect)
    """HTTP interfaces of other services that are also offered: v2 (Open Inference Protocol), hf, openai, deepstack."""
    grpc_port: _Port = 0
    """TCP port of the Open Inference Protocol over gRPC. 0: no gRPC."""

    font: Path | None = None
    """TrueType or OpenType font of drawn pictures. Empty: DejaVu Sans (no Chinese, Japanese, Korean)."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged."""
    log_format: Literal["text", "json"] = "text"
    """Log format: text, or json with one object a line."""

    @property
    def worker_count(self) -> int:
        return self.workers or max(1, cpu_budget() // _CORES_PER_WORKER)

    @property
    def reference_loader(self) -> str:
        """The runtime that others are compared with."""
        return DEFAULT_MODEL_LOADER if self.model_loader == AUTO else self.model_loader

    @property
    def run_is_fixed(self) -> bool:
        """Whether the operator has set all that is measured at load otherwise."""
        return bool(self.intra_op_threads and self.max_batch)

    @field_validator("models_dir", "cache_dir")
    @classmethod
    def _relative_to_project(cls, value: Path) -> Path:
        return PROJECT / value

    @field_validator(*_LISTS, mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        parts = tuple(part.strip() for part in value.split(",") if part.strip())
        if value and not parts:
            raise ValueError("expected names separated by commas")
        return parts

    @field_validator("providers")
    @classmethod
    def _known_providers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("at least one provider is needed, such as cpu")
        for name in value:
            if name not in PROVIDER_NAMES and not name.endswith("ExecutionProvider") and value != (AUTO,):
                raise ValueError(f"unknown provider {name}; allowed: auto alone, or {', '.join(PROVIDER_NAMES)}")
        return value

    @field_validator("model_loader")
    @classmethod
    def _installed_runtime(cls, value: str) -> str:
        names = (AUTO, *model_loader_names())
        if value not in names:
            raise ValueError(f"allowed: {', '.join(names)}")
        if value != AUTO and not is_installed(value):
            raise ValueError(f"{value} is not installed; install requirements/{value}.txt")
        return value

    @field_validator("keys", "admin_keys")
    @classmethod
    def _complete_digests(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(key.startswith("sha256:") and not _HASHED_KEY.fullmatch(key) for key in value):
            raise ValueError("expected 64 lower-case hexadecimal digits after sha256:")
        return value

    @field_validator("grpc_port")
    @classmethod
    def _grpc_is_installed(cls, value: int, info: ValidationInfo) -> int:
        packages = ("grpc", "grpc_health", "grpc_reflection", "tritonclient")
        if value and None in map(find_spec, packages):
            raise ValueError("gRPC needs the packages in requirements/grpc.txt")
        if value and "v2" not in info.data.get("dialects", ()):
            raise ValueError("gRPC is a part of the dialect v2, which API_DIALECTS leaves out")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _valid_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in value:
            ip_network(proxy)  # raises ValueError
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not _ORIGIN.fullmatch(origin) and value != ("*",):
                raise ValueError(
                    f"invalid origin {origin}; allowed: * alone, or origins such as https://app.example.com:8443"
                )
        return value

    @field_validator("tls_cert", "tls_key", "font", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None

    @field_validator("tls_cert", "tls_key", "font")
    @classmethod
    def _readable_file(cls, value: Path | None) -> Path | None:
        try:
            if value:
                (PROJECT / value).open("rb").close()
        except OSError as error:
            raise ValueError(f"cannot read the file: {error.strerror}") from None
        return value and PROJECT / value

    @field_validator("tls_key")
    @classmethod
    def _certificate_has_key(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if "tls_cert" in info.data and (value is None) != (
            info.data["tls_cert"] is None
        ):  # else it has an error itself
            raise ValueError("API_TLS_CERT and API_TLS_KEY must be set together")
        return value

    @field_validator("font")
    @classmethod
    def _valid_font(cls, value: Path | None) -> Path | None:
        if value:
            from engine.drawing import check_font

            check_font(value)
        return value

    @field_validator("rate_limit")
    @classmethod
    def _valid_rate(cls, value: str) -> str:
        if value:
            from limits import parse_many

            items = parse_many(value)
            if len(items) != 1 or items[0].amount < 1:
                raise ValueError("expected one rate of at least 1, such as 10/second")
        return value

    @field_validator("rate_limit_storage")
    @classmethod
    def _valid_storage(cls, value: str) -> str:
        if value and not value.startswith(("redis://", "rediss://")):
            raise ValueError("expected redis://host:port, or nothing")
        return value
