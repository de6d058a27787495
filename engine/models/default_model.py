"""Which model answers requests that name none."""

import logging

from loaders.repository.model_repository import Catalog
from loaders.repository.model_state import ModelChoices

_log = logging.getLogger("fovea.models")


class DefaultModel:
    """The operator's choice, else the configured model. If neither exists at the start, the only model of the folder.

    The only model stays the default when others are added. `name` is the configured name while no default exists.
    """

    def __init__(self, configured: str) -> None:
        self.name = configured
        self._configured = configured
        self._chosen_once = False
        self._logged = ""

    def update(self, catalog: Catalog, choices: ModelChoices) -> None:
        found = next((name for name in (choices.default, self._configured) if name in catalog), None)
        self._chosen_once = self._chosen_once or found is not None
        if not self._chosen_once and (len(catalog) == 1 or self.name in catalog):
            found = next(iter(catalog)) if len(catalog) == 1 else self.name
            self._log_once(logging.INFO, f"default model not found, using the only model  model={found}")
        elif found is None:
            self._log_once(logging.WARNING, f"default model not found  models={', '.join(sorted(catalog)) or 'none'}")
        else:
            self._logged = ""
        self.name = found or self._configured

    def _log_once(self, level: int, message: str) -> None:
        if message != self._logged:
            _log.log(level, "%s  API_DEFAULT_MODEL=%s", message, self._configured)
        self._logged = message
