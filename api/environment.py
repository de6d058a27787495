"""Reads the settings from the environment and the settings file, and explains what is wrong with them."""

import os
from collections.abc import Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from api.settings import PREFIX, ApiSettings

_SECRETS = {"keys", "admin_keys", "rate_limit_storage"}

# Settings of earlier versions, which stop the start.
_REPLACED = {
    "API_LANES": "renamed to API_CONCURRENCY",
    "API_WIDTH": "renamed to API_INTRA_OP_THREADS",
    "API_BATCH_WAIT_MS": "removed; a run never waits for its batch to fill",
    "API_CHECK_MEMORY_MB": "removed; the limit is 8192 MiB",
    "API_CHECK_TIMEOUT_S": "removed; the limit is 60 s",
    "API_CRASH_LIMIT": "removed; the service manager restarts a crashed process",
    "API_HEADER_TIMEOUT_S": "removed; the limit is 10 s",
    "API_IMAGE_LOADER": "removed; OpenCV decodes, and Pillow what OpenCV does not",
    "API_MAX_MODEL_BYTES": "removed; the limit is 2 GiB, that of Protocol Buffers",
    "API_PRECISION_TOLERANCE": "removed; the limit is 0.05",
    "API_SEND_TIMEOUT_S": "removed; the limit is 30 s",
    "API_TUNE": "removed; nothing is measured if API_INTRA_OP_THREADS and API_MAX_BATCH are set",
}


class SettingsError(Exception):
    """A setting has an invalid value. The message has the variable, the value and what is allowed."""


def load_settings() -> ApiSettings:
    """Reads the environment and the settings file. Raises SettingsError with one line for each error."""
    replaced = [f"{name}: {change}" for name, change in _REPLACED.items() if name in os.environ]
    if replaced:
        raise SettingsError("\n".join(replaced))
    try:
        return ApiSettings()
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(problem) for problem in error.errors(include_url=False))) from None


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Environment variables with the prefix API_ that are not settings: most likely misspelt."""
    known = {PREFIX + name.upper() for name in ApiSettings.model_fields}
    return sorted(name for name in environment if name.startswith(PREFIX) and name not in known)


def _explain(problem: ErrorDetails) -> str:
    """`API_PORT=99999: Input should be less than or equal to 65535`. Keys are masked."""
    name = str(problem["loc"][0]) if problem["loc"] else ""
    variable = name.upper() if problem["type"] == "extra_forbidden" else PREFIX + name.upper()
    if variable in _REPLACED:
        return f"{variable}: {_REPLACED[variable]}"
    value = "***" if name in _SECRETS else problem["input"]
    return f"{variable}={value}: {problem['msg'].removeprefix('Value error, ')}"
