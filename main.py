"""`python main.py` runs uvicorn as the settings say; `uvicorn main:app` serves the same application."""

import sys

from api.environment import SettingsError, load_settings
from api.settings import ApiSettings
from api.telemetry.traces import traces_requested


def _settings_or_exit() -> ApiSettings:
    try:
        traces_requested()
        return load_settings()
    except SettingsError as error:
        sys.exit(f"The service cannot start, a setting is invalid:\n{error}")


settings = _settings_or_exit()

if __name__ == "__main__":
    from api.server.run import serve

    sys.exit(serve(settings))

if __name__ != "__mp_main__":  # a worker process of uvicorn's manager imports this file twice
    from api.inference_api import InferenceAPI

    app = InferenceAPI(settings).app
