"""Runs schemathesis on the OpenAPI document of a running service: every address, valid and invalid data, all checks.

`python -m tests.fuzz.document SECONDS`. Exit status: 0, or 1 with a curl command for each failure.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.process import running
from tests.tiny_models import add_model, colour_graph

_CONFIG = Path(__file__).with_name("schemathesis.toml")


def main() -> int:
    """Uses temporary models, as the admin addresses are called with a valid key."""
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        for version in (1, 2):
            add_model(models, "colour", colour_graph(gain=version), version=version)
        add_model(models, "other", colour_graph())
        environment = {"API_MODELS_DIR": str(models), "API_DEFAULT_MODEL": "colour", "API_ADMIN_KEYS": "boss"}
        with running(environment | {"API_CACHE_DIR": f"{folder}/cache"}) as service:
            tool = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(_CONFIG), "run"]
            options = ["--max-time", sys.argv[1], "--max-examples", "40", "--continue-on-failure", "--no-color"]
            tested = subprocess.run(
                [*tool, f"{service.base_url}/openapi.json", "--warnings", "off", *options], check=False
            )
            bugs = service.bugs()
    if bugs:
        print("The service's log:\n" + "\n".join(bugs[:50]))
    return 1 if tested.returncode or bugs else 0


if __name__ == "__main__":
    sys.exit(main())
