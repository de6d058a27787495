"""Which models are in memory before anybody asks for one."""

from enum import StrEnum


class LoadPolicy(StrEnum):
    """What is loaded before anybody asks: every model, the default model, or nothing."""

    ALL = "all"
    DEFAULT = "default"
    ON_DEMAND = "on-demand"
