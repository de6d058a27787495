"""Exports of timm, by its own exporter and config, and of its models in transformers."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.e2e.exports.calibration import calibrate
from tests.e2e.exports.case import Answer, Answerer, Case, Maker
from tests.e2e.exports.classifiers import BOUND, CLASSES, TASK, classify
from tests.e2e.exports.hugging_face import maker, names
from tests.e2e.exports.pictures import CALIBRATION

_LABELS = list(names(CLASSES).values())


def timm_maker(architecture: str, model: Mapping[str, Any] | None = None, **overlay: Any) -> Maker:
    """`model`: arguments of the architecture.

    `overlay`: of the pretrained config, which the model hub keeps beside weights.
    """

    def make(folder: Path) -> Answerer:
        import timm
        import torch
        from timm.models import save_for_hf
        from timm.utils.onnx import onnx_export

        torch.manual_seed(0)
        built = timm.create_model(
            architecture,
            num_classes=CLASSES,
            pretrained_cfg_overlay={**overlay, "label_names": _LABELS},
            **(model or {}),
        )
        transform = _transform(built)
        batch = torch.stack([transform(_open(file)) for file in CALIBRATION])
        calibrate(built, lambda: built(batch), {rf"^{built.pretrained_cfg['classifier']}$": (0.0, 2.0)})
        save_for_hf(built, folder, model_config={"label_names": _LABELS})
        for weights in [*folder.glob("*.safetensors"), *folder.glob("*.bin")]:
            weights.unlink()
        onnx_export(built, str(folder / "model.onnx"), input_size=tuple(batch.shape[1:]), batch_size=1)
        return lambda picture: _answer(built, transform(_open(picture)))

    return make


def _transform(model: Any) -> Callable[[Any], Any]:
    from timm.data import create_transform, resolve_model_data_config

    transform: Callable[[Any], Any] = create_transform(**resolve_model_data_config(model), is_training=False)
    return transform


def _open(file: Path) -> Any:
    from PIL import Image, ImageOps

    return ImageOps.exif_transpose(Image.open(file)).convert("RGB")


def _answer(model: Any, tensor: Any) -> Answer:
    import torch

    with torch.no_grad():
        scores = model(tensor[None]).softmax(-1)[0]
    return {"scores": scores.numpy(), "labels": np.array(_LABELS)}


def _case(name: str, make: Maker) -> Case:
    return Case(name, "timm", TASK, make, BOUND)


CASES = (
    _case("timm-resnet50-center", timm_maker("resnet50")),
    _case("timm-vit-small-squash", timm_maker("vit_small_patch16_224", crop_mode="squash", crop_pct=1.0)),
    _case("timm-convnext-nano-border", timm_maker("convnext_nano", crop_mode="border", crop_pct=0.9)),
    _case(
        "timm-mobilenetv3-oblong", timm_maker("mobilenetv3_large_100", input_size=(3, 192, 288), crop_pct=0.9)
    ),
    Case(
        "hf-timm-wrapper",
        "transformers",
        TASK,
        maker(
            classify,
            "TimmWrapperForImageClassification",
            lambda hf: hf.TimmWrapperConfig(
                architecture="resnet34", id2label=names(CLASSES), pretrained_cfg=_pretrained("resnet34")
            ),
            lambda hf: hf.TimmWrapperImageProcessor(pretrained_cfg=_pretrained("resnet34"), architecture="resnet34"),
            {r"\.fc$": (0.0, 2.0)},
        ),
        BOUND,
    ),
)  # fmt: skip


def _pretrained(architecture: str) -> dict[str, Any]:
    import timm

    config: dict[str, Any] = timm.get_pretrained_cfg(architecture).to_dict()
    return config
