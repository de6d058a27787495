"""The telemetry of runtimes is switched off before they are imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loaders.model_loader import model_loader_names
from tests.paths import ROOT

LOAD = """
import sys
from pathlib import Path
from loaders.model_loader import create_model_loader
from loaders.runtimes.base import SessionOptions
create_model_loader(sys.argv[2]).load(Path(sys.argv[1]), SessionOptions(("cpu",)))
assert not any("telemetry" in name for name in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.parametrize("runtime", model_loader_names())
def test_runtime_writes_no_telemetry_files(tiny_models: Path, tmp_path: Path, runtime: str) -> None:
    """Its identifier and its queue would be files in the user's cache folder."""
    own = {name: value for name, value in os.environ.items() if name not in {"ORT_DISABLE_TELEMETRY", "CI"}}
    environment = {**own, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    model = tiny_models / "colour" / "1" / "model.onnx"
    subprocess.run([sys.executable, "-c", LOAD, str(model), runtime], cwd=ROOT, env=environment, check=True)
    assert not list(tmp_path.iterdir())
