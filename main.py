"""Builds the app: `uvicorn main:app`, or `python main.py` to serve it where the settings say."""

import sys

from api.inference_api import InferenceAPI
from api.settings import ApiSettings, SettingsError, load_settings


def _settings_or_exit() -> ApiSettings:
    try:
        return load_settings()
    except SettingsError as error:
        sys.exit(f"The service does not start, a setting is wrong:\n{error}")


settings = _settings_or_exit()
app = InferenceAPI(settings).app

if __name__ == "__main__":
    from api.serve import serve

    serve(app, settings)
