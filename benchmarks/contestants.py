"""The servers that are compared: the command of each, and its address for pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.models import NAMES, ROOT, graph_of
from benchmarks.scenarios import Model

CACHE = ROOT / ".bench"
MODELS = CACHE / "models"
SERVICE_CACHE = CACHE / "cache"
_PRODUCT = ROOT / ".venv"

FOVEA = "Fovea"
FOVEA_2 = f"{FOVEA} with 2 workers"


@dataclass(frozen=True, slots=True)
class Contestant:
    """`command` runs in the project's folder and reads model and port from the environment.

    `models`: those that it is measured with.
    """

    name: str
    command: Sequence[str]
    path: str = "/infer"
    environment: Mapping[str, str] = field(default_factory=dict)
    models: Sequence[Model] = ("default", "int8", "no-cost")

    @property
    def installed(self) -> bool:
        return Path(self.command[0]).exists()

    def environment_for(self, model: Model, port: int) -> dict[str, str]:
        return {
            "API_PORT": str(port),
            "API_MODELS_DIR": str(MODELS),
            "API_DEFAULT_MODEL": NAMES[model],
            "API_CACHE_DIR": str(SERVICE_CACHE),
            "API_LOG_LEVEL": "warning",  # access logs are off everywhere
            "BENCH_PORT": str(port),
            "BENCH_MODEL": str(graph_of(MODELS, model)),
            "BENCH_LABELS": str(MODELS / NAMES[model] / "labels.txt"),
            "PYTHONPATH": str(ROOT),
            **{name: value.format(port=port) for name, value in self.environment.items()},
        }


def _peer(name: str, module: str, environment: Path, variables: Mapping[str, str] | None = None) -> Contestant:
    command = str(environment / "bin" / "python"), "-m", f"benchmarks.peers.{module}"
    return Contestant(name, command, environment=variables or {})


# The options that its documentation names for throughput. Its workers would otherwise run at nice 15, behind the load.
_RAY = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_worker_niceness": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}


ALL = (
    Contestant(FOVEA, (str(_PRODUCT / "bin" / "python"), "main.py")),
    Contestant(
        FOVEA_2,
        (str(_PRODUCT / "bin" / "python"), "main.py"),
        environment={"API_WORKERS": "2"},
        models=("default", "no-cost"),
    ),
    _peer("classic handler", "classic", _PRODUCT),
    _peer("FastAPI thread pool", "thread_pool", _PRODUCT),
    _peer("LitServe", "litserve_server", CACHE / "litserve"),
    Contestant(
        "BentoML",
        (str(CACHE / "bentoml" / "bin" / "bentoml"), "serve", "benchmarks.peers.bentoml_service:ImageClassifier"),
        environment={
            "BENTOML_PORT": "{port}",
            "BENTOML_HOST": "127.0.0.1",
            "BENTOML_HOME": str(CACHE / "bentoml-home"),
            "BENTOML_DO_NOT_TRACK": "True",
        },
    ),
    _peer("Ray Serve", "ray_serve", CACHE / "ray", _RAY),
)
FOVEA_ON_RAY = _peer("Fovea on Ray Serve", "fovea_on_ray", ROOT / ".venv-ray", _RAY)


def bare_loop_command(way: str, model: Model, window_s: float, pictures: Sequence[str]) -> list[str]:
    python = str(_PRODUCT / "bin" / "python")
    return [python, "-m", "benchmarks.bare_loop", way, str(graph_of(MODELS, model)), str(window_s), *pictures]
