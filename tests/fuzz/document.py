"""schemathesis on the OpenAPI document of a real process: every address, good data and bad, all checks.

`python -m tests.fuzz.document SECONDS`. Exit status 0; 1 with a curl command for each failure.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.process import running_service
from tests.tiny_models import add_model, colour_graph

_CONFIG = Path(__file__).with_name("schemathesis.toml")
_BUGS = ("Traceback", "status=500")


def main() -> int:
    """On models of its own: the operator's addresses are asked with a key that is valid."""
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        for version in (1, 2):
            add_model(models, "colour", colour_graph(gain=version), version=version)
        add_model(models, "other", colour_graph())
        environment = {"API_MODELS_DIR": str(models), "API_DEFAULT_MODEL": "colour", "API_ADMIN_KEYS": "boss"}
        with running_service(**environment, API_CACHE_DIR=f"{folder}/cache") as service:
            tool = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(_CONFIG), "run"]
            asked = ["--max-time", sys.argv[1], "--max-examples", "40", "--continue-on-failure", "--no-color"]
            tested = subprocess.run(
                [*tool, f"{service.base_url}/openapi.json", "--warnings", "off", *asked], check=False
            )
            bugs = [line for line in service.log if any(mark in line for mark in _BUGS)]
    if bugs:
        print("The service's log:\n" + "".join(bugs[:50]))
    return 1 if tested.returncode or bugs else 0


if __name__ == "__main__":
    sys.exit(main())
