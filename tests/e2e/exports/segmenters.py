"""Segmentation models of transformers."""

from typing import Any

import numpy as np

from tests.e2e.exports.case import Answer, Case
from tests.e2e.exports.hugging_face import Heads, Pipeline, labels_of, maker, names, run

_CLASSES = 20
_PIXELS = 0.03  # share of pixels with another class, at the borders of two
_CROPPED = 0.06  # the edges of the crop fall between pixels
_OBJECTS = 0.05  # of 1 - F1
_SEMANTIC: Heads = {r"(decode_head|segmentation_head)\.(classifier|conv_seg)(\.convolution)?$": (0.0, 2.0)}
_SWIN_TINY = {"depths": [2, 2, 6, 2], "out_features": ["stage1", "stage2", "stage3", "stage4"]}


def semantic(model: Any, processor: Any, picture: Any) -> Answer:
    found = processor.post_process_semantic_segmentation(
        run(model, processor, picture), target_sizes=[(picture.height, picture.width)]
    )[0]
    return {"classes": found.numpy().astype(np.int16), "labels": labels_of(model)}


def semantic_of_crop(model: Any, processor: Any, picture: Any) -> Answer:
    """The map of the centre crop, where the crop was cut; transformers itself stretches it over the whole picture."""
    scale = min(picture.size) / processor.size["shortest_edge"]
    height, width = (round(processor.crop_size[side] * scale) for side in ("height", "width"))
    top, left = (picture.height - height) // 2, (picture.width - width) // 2
    found = processor.post_process_semantic_segmentation(
        run(model, processor, picture), target_sizes=[(height, width)]
    )[0]
    classes = np.full((picture.height, picture.width), -1, np.int16)
    classes[top : top + height, left : left + width] = found.numpy()
    return {"classes": classes, "labels": labels_of(model)}


def panoptic(model: Any, processor: Any, picture: Any) -> Answer:
    """The image-segmentation pipeline with its defaults."""
    from transformers import pipeline

    pipe = pipeline("image-segmentation", model=model, image_processor=processor, device="cpu")
    found = pipe(picture)
    masks = [np.asarray(segment["mask"]) > 127 for segment in found]
    return {
        "masks": np.array(masks, np.bool_).reshape(len(found), picture.height, picture.width),
        "scores": np.array([segment["score"] for segment in found], np.float32),
        "labels": np.array([segment["label"] for segment in found], dtype=np.str_),
    }


def _semantic(
    name: str, model: str, config: Any, processor: Any, pipeline: Pipeline = semantic, **options: Any
) -> Case:
    make = maker(pipeline, f"{model}ForSemanticSegmentation", config, processor, _SEMANTIC, **options)
    bound = _CROPPED if pipeline is semantic_of_crop else _PIXELS
    return Case(name, "transformers", "image-segmentation", make, bound)


def _cropped(name: str, model: str, side: int, edge: int, **config: Any) -> Case:
    """A centre crop of `side` pixels, after the shortest edge was resized to `edge`."""
    return _semantic(
        name,
        model,
        lambda hf: getattr(hf, f"{model}Config")(id2label=names(_CLASSES), image_size=side, **config),
        lambda hf: getattr(hf, f"{model}ImageProcessor")(
            size={"shortest_edge": edge}, crop_size={"height": side, "width": side}, do_reduce_labels=False
        ),
        semantic_of_crop,
    )


def _universal(name: str, model: str, purpose: str) -> Case:
    heads = {"class_predictor": (0.0, 4.0), r"mask_embedder.*2(\.0)?$": (0.0, 0.5)}
    make = maker(
        panoptic,
        f"{model}For{purpose}Segmentation",
        lambda hf: getattr(hf, f"{model}Config")(id2label=names(_CLASSES), backbone_config=hf.SwinConfig(**_SWIN_TINY)),
        lambda hf: getattr(hf, f"{model}ImageProcessor")(size={"height": 384, "width": 384}),
        heads,
        outputs=("class_queries_logits", "masks_queries_logits"),
    )
    return Case(name, "transformers", "image-segmentation", make, _OBJECTS)


CASES = (
    _semantic(
        "hf-segformer-b0",
        "Segformer",
        lambda hf: hf.SegformerConfig(id2label=names(_CLASSES)),
        lambda hf: hf.SegformerImageProcessor(do_reduce_labels=True),
        dynamic=True,
    ),
    _semantic(
        "hf-upernet-convnext-tiny",
        "UperNet",
        lambda hf: hf.UperNetConfig(
            id2label=names(_CLASSES), hidden_size=256,
            backbone_config=hf.ConvNextConfig(
                hidden_sizes=[96, 192, 384, 768], out_features=_SWIN_TINY["out_features"]
            ),
        ),
        lambda hf: hf.SegformerImageProcessor(size={"height": 384, "width": 384}, do_reduce_labels=True),
    ),
    _cropped("hf-deeplab-mobilenet-v2", "MobileNetV2", 513, 513, output_stride=8),
    _cropped("hf-mobilevit-seg", "MobileViT", 512, 544),
    _universal("hf-maskformer-swin-tiny", "MaskFormer", "Instance"),
    _universal("hf-mask2former-swin-tiny", "Mask2Former", "Universal"),
)  # fmt: skip
