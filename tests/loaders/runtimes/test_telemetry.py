"""Nothing is reported to anybody: ONNX Runtime's telemetry is off before it is loaded."""

import os
import subprocess
import sys
from pathlib import Path

from tests.paths import ROOT

LOAD = """
import sys
from pathlib import Path
from loaders.model_loader import create_model_loader
from loaders.runtimes.base import SessionOptions
create_model_loader("onnxruntime").load(Path(sys.argv[1]), SessionOptions(("cpu",)))
"""


def test_the_runtime_keeps_no_identifier_and_nothing_to_send(tiny_models: Path, tmp_path: Path) -> None:
    """Both would be files in the user's cache folder."""
    own = {name: value for name, value in os.environ.items() if name not in {"ORT_DISABLE_TELEMETRY", "CI"}}
    environment = {**own, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    model = tiny_models / "colour" / "1" / "model.onnx"
    subprocess.run([sys.executable, "-c", LOAD, str(model)], cwd=ROOT, env=environment, check=True)
    assert not list(tmp_path.iterdir())
