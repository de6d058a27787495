"""The content of the models folder and of the state file, as last read."""

import logging

from engine.models.default_model import DefaultModel
from engine.models.load_attempt import ModelUnavailableError
from engine.models.settled_catalog import SettledCatalog
from loaders.repository.model_repository import Catalog, ModelRepository, ModelVersion, Scan
from loaders.repository.model_state import ModelChoices, ModelStateFile

_log = logging.getLogger("fovea.models")


class FollowedFolder:
    """`invalid`: entries that are not served, with the reason. `error`: why the folder cannot be followed, or ""."""

    def __init__(self, repository: ModelRepository, default: str) -> None:
        self.state_file = ModelStateFile(repository.root)
        self.catalog: Catalog = {}
        self.invalid: dict[str, str] = {}
        self.choices = ModelChoices()
        self.default = DefaultModel(default)
        self.error = ""
        self._repository = repository
        self._settled = SettledCatalog()

    def version(self, name: str, selector: int | str | None = None) -> ModelVersion:
        """Returns the version with a number or a label; without a selector the active one.

        Raises UnknownModelError, and ModelUnavailableError for an invalid folder and if the folder was never read.
        """
        never_read = self.error if not self.catalog else ""
        if name not in self.catalog and (reason := self.invalid.get(name) or never_read):
            raise ModelUnavailableError(name, reason)
        return self.choices.version(self.catalog, name, selector)

    def read(self) -> tuple[Scan, ModelChoices] | None:
        """Returns None if the folder cannot be read. The last choices stay in effect if the state file cannot be."""
        try:
            scan = self._repository.scan()
        except OSError as error:
            self._report_error(f"the models folder cannot be read ({error.strerror}); loaded models keep serving")
            return None
        try:
            choices = self.state_file.read()
        except OSError as error:
            self._report_error(f"the state file cannot be read ({error.strerror}); the last choices stay in effect")
            return scan, self.choices
        self._report_error("")
        return scan, choices

    def update(self, scan: Scan, choices: ModelChoices, *, complete: bool) -> None:
        """`complete`: changed files count at once; otherwise they count when they have stopped changing."""
        self.choices = choices
        self.catalog = self._settled.update(scan.catalog, scan.invalid.keys() - scan.empty, complete=complete)
        for name, reason in scan.invalid.items():
            if self.invalid.get(name) != reason:
                _log.warning('model not served  model=%s  detail="%s"', name, reason)
        self.invalid = scan.invalid
        self.default.update(self.catalog, self.choices)

    def _report_error(self, error: str) -> None:
        if error and error != self.error:
            _log.warning('models folder not followed  detail="%s"', error)
        self.error = error
