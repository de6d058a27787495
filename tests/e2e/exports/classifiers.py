"""Classifiers of transformers."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.e2e.exports.case import Answer, Case
from tests.e2e.exports.hugging_face import Heads, labels_of, maker, names

TASK = "image-classification"
CLASSES = 100
BOUND = 0.01
_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


def classify(model: Any, processor: Any, picture: Any) -> Answer:
    from transformers import pipeline

    pipe = pipeline(TASK, model=model, image_processor=processor, device="cpu")
    by_label = {found["label"]: found["score"] for found in pipe(picture, top_k=CLASSES)}
    labels = labels_of(model)
    return {"labels": labels, "scores": np.array([by_label[label] for label in labels])}


def classifier(
    name: str,
    model: str,
    processor: str,
    config: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    *,
    head: str = "classifier$",
    **options: Any,
) -> Case:
    heads: Heads = {head: (0.0, 2.0)}
    make = maker(
        classify,
        f"{model}ForImageClassification",
        _config(model, config),
        _processor(processor, settings),
        heads,
        **options,
    )
    return Case(name, "transformers", TASK, make, BOUND)


def _config(model: str, values: dict[str, Any] | None) -> Callable[[Any], Any]:
    return lambda transformers: getattr(transformers, f"{model}Config")(id2label=names(CLASSES), **(values or {}))


def _processor(name: str, values: dict[str, Any] | None) -> Callable[[Any], Any]:
    return lambda transformers: getattr(transformers, f"{name}ImageProcessor")(**(values or {}))


CASES = (
    classifier("hf-vit", "ViT", "ViT"),
    classifier("hf-vit-dynamo", "ViT", "ViT", {"num_hidden_layers": 3}, dynamo=True),
    classifier("hf-deit", "DeiT", "DeiT", {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536}),
    classifier("hf-swin-tiny", "Swin", "ViT", None, {**_IMAGENET, "resample": 3}),
    classifier("hf-swinv2-tiny", "Swinv2", "ViT", {"image_size": 256, "window_size": 8},
               {**_IMAGENET, "size": {"height": 256, "width": 256}, "resample": 3}),
    classifier("hf-beit-base", "Beit", "Beit", {"use_relative_position_bias": True}),
    classifier("hf-pvt-tiny", "Pvt", "Pvt", {"depths": [2, 2, 2, 2], "num_labels": CLASSES}),
    classifier("hf-convnext-tiny", "ConvNext", "ConvNext", None, {"size": {"shortest_edge": 224}, "crop_pct": 0.875}),
    classifier("hf-convnextv2-nano", "ConvNextV2", "ConvNext",
               {"depths": [2, 2, 8, 2], "hidden_sizes": [80, 160, 320, 640]}, {"size": {"shortest_edge": 224}}),
    classifier("hf-resnet-50", "ResNet", "ConvNext", None, {**_IMAGENET, "size": {"shortest_edge": 224}, "resample": 3},
               head=r"classifier\.1", dynamic=True),
    classifier("hf-regnet-y-040", "RegNet", "ConvNext", None, {"size": {"shortest_edge": 224}, "crop_pct": 0.875},
               head=r"classifier\.1", dynamic=True),
    classifier("hf-efficientnet-b0", "EfficientNet", "EfficientNet",
               {"width_coefficient": 1.0, "depth_coefficient": 1.0, "image_size": 224, "hidden_dim": 1280},
               {"size": {"height": 224, "width": 224}, "include_top": True, "image_std": [0.478, 0.473, 0.474]}),
    classifier("hf-mobilenet-v1", "MobileNetV1", "MobileNetV1"),
    classifier("hf-mobilenet-v2", "MobileNetV2", "MobileNetV2"),
    classifier("hf-mobilevit-small", "MobileViT", "MobileViT"),
    classifier("hf-levit-256", "Levit", "Levit", {"hidden_sizes": [256, 384, 512], "num_attention_heads": [4, 6, 8]},
               head=r"classifier\.linear"),
    classifier("hf-poolformer-s12", "PoolFormer", "PoolFormer"),
    # A zero pad before a max-pool, which ONNX Runtime 1.31 fuses (Pad_Fusion) into one that pads with -infinity.
    classifier("hf-bit-50", "Bit", "Bit", None,
               {"size": {"shortest_edge": 448}, "crop_size": {"height": 448, "width": 448}}, head=r"classifier\.1"),
)  # fmt: skip
