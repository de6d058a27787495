"""What an operator should know of the settings at the start: told once, however many workers there are."""

import logging
import os

from api.settings import ApiSettings, unknown_variables

_log = logging.getLogger("fovea")


def tell_start_notes(settings: ApiSettings) -> None:
    for name in unknown_variables(os.environ):
        _log.warning("%s is no setting of this service", name)
    if not settings.keys:
        _log.info("API_KEYS is empty: whoever reaches this address may infer")
