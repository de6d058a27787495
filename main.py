"""`python main.py` serves where the settings say; `uvicorn main:app` serves the same in one process of uvicorn's."""

import sys

from api.settings import ApiSettings, SettingsError, load_settings


def _settings_or_exit() -> ApiSettings:
    try:
        return load_settings()
    except SettingsError as error:
        sys.exit(f"The service does not start, a setting is wrong:\n{error}")


settings = _settings_or_exit()

if __name__ == "__main__":
    from api.server.run import serve

    sys.exit(serve(settings))

from api.inference_api import InferenceAPI  # noqa: E402 - a supervisor does without what it imports

app = InferenceAPI(settings).app
