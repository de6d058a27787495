"""Which models are loaded without a request."""

from enum import StrEnum


class LoadPolicy(StrEnum):
    """Loads every model, the default model, or none without a request."""

    ALL = "all"
    DEFAULT = "default"
    ON_DEMAND = "on-demand"
