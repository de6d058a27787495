"""Exports of transformers: `torch.onnx.export` as Optimum calls it, beside config and processor."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.e2e.exports.calibration import calibrate
from tests.e2e.exports.case import Answer, Answerer, Maker
from tests.e2e.exports.pictures import CALIBRATION

_EXPORT_BOUND = 1e-2  # relative to the largest value
AXES = {0: "batch_size", 1: "num_channels", 2: "height", 3: "width"}

Heads = Mapping[str, tuple[float, float]]
# (model, processor, picture) -> answer
Pipeline = Callable[[Any, Any, Any], Answer]


def maker(
    pipeline: Pipeline,
    model_class: str,
    config: Callable[[Any], Any],
    processor: Callable[[Any], Any],
    heads: Heads,
    *,
    outputs: tuple[str, ...] = ("logits",),
    dynamic: bool = False,
    dynamo: bool = False,
    size: tuple[int, int] = (480, 360),
    save: Callable[[Any, Path], object] = lambda processor, folder: processor.save_pretrained(folder),
) -> Maker:
    """Returns a maker: `config` and `processor` get the module transformers.

    `dynamic`: height and width are open in the graph, not only the batch. `dynamo`: PyTorch's default exporter. `size`:
    width and height of the photos that calibrate it.
    """

    def make(folder: Path) -> Answerer:
        import torch
        import transformers
        from transformers.image_utils import load_image

        torch.manual_seed(0)
        model = getattr(transformers, model_class)(config(transformers)).eval()
        prepared = processor(transformers)
        photos = [load_image(str(file)).resize(size) for file in CALIBRATION]
        batch = prepared(images=photos, return_tensors="pt")
        calibrate(model, lambda: model(pixel_values=batch["pixel_values"]), heads)
        model.config.architectures = [model_class]
        model.config.save_pretrained(folder)
        save(prepared, folder)
        export(model, batch["pixel_values"][:1], folder / "model.onnx", outputs, dynamic=dynamic, dynamo=dynamo)
        _check_export(
            model,
            prepared(images=photos[0].crop((0, 0, size[0] * 5 // 8, size[1])), return_tensors="pt"),
            folder,
            outputs,
        )
        return lambda picture: pipeline(model, prepared, load_image(str(picture)))

    return make


def export(model: Any, pixels: Any, file: Path, outputs: tuple[str, ...], *, dynamic: bool, dynamo: bool) -> None:
    import torch

    module = _Named(model, outputs).module
    if dynamo:
        batch = {0: torch.export.Dim("batch")}
        pair = torch.cat([pixels, pixels])  # a batch of one would be fixed in the graph
        torch.onnx.export(
            module, (pair,), str(file), input_names=["pixel_values"], output_names=[*outputs], dynamic_shapes=(batch,),
            verbose=False,
        )  # fmt: skip
        return
    axes: dict[str, dict[int, str]] = {name: {0: "batch_size"} for name in outputs}
    axes["pixel_values"] = AXES if dynamic else {0: "batch_size"}
    torch.onnx.export(
        module, (pixels,), str(file), input_names=["pixel_values"], output_names=[*outputs], dynamic_axes=axes,
        dynamo=False, opset_version=17,
    )  # fmt: skip


def _check_export(model: Any, inputs: Any, folder: Path, outputs: tuple[str, ...]) -> None:
    """Raises ValueError if the graph computes something else than the model, for instance at another size.

    On average and in any order: which queries a detector picks of those with nearly equal scores may differ.
    """
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # see hf-bit-50
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    served = session.run([*outputs], {"pixel_values": inputs["pixel_values"].numpy()})
    with torch.no_grad():
        expected = model(pixel_values=inputs["pixel_values"])
    for name, values in zip(outputs, served, strict=True):
        both = [np.sort(tensor, axis=None) for tensor in (values, expected[name].numpy())]
        apart = float(np.abs(both[0] - both[1]).mean() / np.abs(both[1]).max())
        if apart > _EXPORT_BOUND:
            raise ValueError(f"the export's {name} is {apart:.3g} from the model's")


class _Named:
    """The model with the outputs of those names only, in their order."""

    def __init__(self, model: Any, names: tuple[str, ...]) -> None:
        import torch

        class Module(torch.nn.Module):  # type: ignore[misc]  # torch is not in every environment
            def __init__(self) -> None:
                super().__init__()
                self.model = model

            def forward(self, pixel_values: Any) -> tuple[Any, ...]:
                answer = self.model(pixel_values=pixel_values)
                return tuple(answer[name] for name in names)

        self.module = Module().eval()


def names(count: int) -> dict[int, str]:
    """`id2label` of a model with so many classes."""
    return {class_id: f"thing {class_id}" for class_id in range(count)}


def run(model: Any, processor: Any, picture: Any) -> Any:
    import torch

    inputs = processor(images=picture, return_tensors="pt")
    with torch.no_grad():
        return model(pixel_values=inputs["pixel_values"])


def labels_of(model: Any) -> Any:
    by_id = model.config.id2label
    return np.array([by_id[class_id] for class_id in range(len(by_id))])
