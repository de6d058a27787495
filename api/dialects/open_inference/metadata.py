"""What the protocol says about the service and its models, as JSON; gRPC turns it into its messages."""

from typing import Any

from api import VERSION
from api.dialects.open_inference.codec import DATATYPES
from api.dialects.open_inference.faces import Face, wire_shape
from api.settings import ApiSettings
from api.telemetry.model_statistics import VersionStatistics
from engine.inference_engine import InferenceEngine
from engine.models.loaded_model import LoadedModel
from loaders.tensors import TensorInfo
from utils.time_utils import DECODE, INFERENCE, POSTPROCESS, PREPROCESS, QUEUE

Json = dict[str, Any]

SERVER: Json = {
    "name": "fovea",
    "version": VERSION,
    "extensions": [
        "binary_tensor_data",
        "classification",
        "model_repository",
        "model_configuration",
        "statistics",
        "schedule_policy",
        "parameters",
    ],
}
_PLATFORM = "onnxruntime_onnx"


def model_metadata(engine: InferenceEngine, face: Face, model: LoadedModel) -> Json:
    return {
        "name": face.name,
        "versions": [str(number) for number in sorted(engine.models.catalog.get(model.ref.name, ()))],
        "platform": _PLATFORM,
        "inputs": [_tensor(info) for info in face.inputs(model)],
        "outputs": [_tensor(info) for info in face.outputs(model)],
    }


def model_config(face: Face, model: LoadedModel, settings: ApiSettings) -> Json:
    """What clients of Triton read of its ModelConfig. Sides are without the first one, the number of pictures."""
    picture = model.spec.input or next(i.name for i in model.session.inputs if len(i.shape) == 4)
    inputs = [_configured(info) for info in face.inputs(model)]
    for entry in inputs:
        if entry["name"] == picture and face.takes_tensors:
            entry["format"] = f"FORMAT_{model.spec.preprocess.layout}"
    return {
        "name": face.name,
        "platform": _PLATFORM,
        "backend": "onnxruntime",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": settings.max_batch_images,
        "input": inputs,
        "output": [_configured(info) for info in face.outputs(model)],
        "instance_group": [{"name": face.name, "kind": "KIND_CPU" if model.session.on_cpu else "KIND_GPU", "count": 1}],
        "dynamic_batching": {},
    }


def repository_index(engine: InferenceEngine, *, ready_only: bool) -> list[Json]:
    return [
        {"name": model.name, "version": str(version.version), "state": version.state, "reason": version.reason or ""}
        for model in engine.models.snapshot().models
        for version in model.versions
        if version.state == "READY" or not ready_only
    ]


def statistics(name: str, version: int, found: VersionStatistics) -> Json:
    """Of the worker process that answers. Each picture counts as one run."""
    stages = found.stages

    def took(*names: str) -> Json:
        return {"count": found.answered, "ns": round(sum(stages[stage] for stage in names) * 1e9)}

    compute = {
        "compute_input": took(DECODE, PREPROCESS),
        "compute_infer": took(INFERENCE),
        "compute_output": took(POSTPROCESS),
    }
    none = {"count": 0, "ns": 0}
    return {
        "name": name,
        "version": str(version),
        "last_inference": round(found.last_at * 1e3),
        "inference_count": found.answered,
        "execution_count": found.answered,
        "inference_stats": {
            "success": took(*stages),
            "fail": {"count": found.failed, "ns": round(found.failed_seconds * 1e9)},
            "queue": took(QUEUE),
            **compute,
            "cache_hit": none,
            "cache_miss": none,
        },
        "response_stats": {},
        "batch_stats": [{"batch_size": 1, **compute}] if found.answered else [],
        "memory_usage": [],
    }


def _tensor(info: TensorInfo) -> Json:
    return {"name": info.name, "datatype": DATATYPES[info.dtype], "shape": wire_shape(info)}


def _configured(info: TensorInfo) -> Json:
    datatype = DATATYPES[info.dtype]
    kind = "STRING" if datatype == "BYTES" else datatype
    return {"name": info.name, "data_type": f"TYPE_{kind}", "dims": wire_shape(info)[1:] or [1]}
