"""Detectors of transformers."""

from typing import Any

import numpy as np

from tests.e2e.exports.case import THRESHOLD, Answer, Case
from tests.e2e.exports.hugging_face import Heads, labels_of, maker, names, run

_BOUND = 0.05  # of 1 - F1
_CLASSES = 20
_BOX_LAYER = r"bbox_(predictor|embed|head).*layers\.2"
_BOXES: Heads = {_BOX_LAYER: (0.0, 1.0)}
# RT-DETR's boxes are offsets from small anchors: large ones would move by more than an anchor's width under noise.
_OFFSETS: Heads = {_BOX_LAYER: (0.0, 0.25)}


def detect(model: Any, processor: Any, picture: Any) -> Answer:
    """The object-detection pipeline without its rounding of boxes to whole pixels, inside the picture."""
    found = processor.post_process_object_detection(
        run(model, processor, picture), threshold=THRESHOLD, target_sizes=[(picture.height, picture.width)]
    )[0]
    labels = labels_of(model)
    return {
        "boxes": np.clip(found["boxes"].numpy(), 0, (picture.width, picture.height) * 2),
        "scores": found["scores"].numpy(),
        "labels": np.array([labels[class_id] for class_id in found["labels"].tolist()], dtype=np.str_),
    }


def _case(name: str, model: str, config: Any, processor: Any, heads: Heads, *, dynamic: bool) -> Case:
    make = maker(
        detect, model, config, processor, {**_BOXES, **heads}, outputs=("logits", "pred_boxes"), dynamic=dynamic
    )
    return Case(name, "transformers", "object-detection", make, _BOUND, threshold=THRESHOLD)


# Of full width, but few layers: deep ones with random weights answer otherwise when single values change by one level.
CASES = (
    _case(
        "hf-detr-resnet-10",
        "DetrForObjectDetection",
        lambda hf: hf.DetrConfig(
            id2label=names(_CLASSES), use_timm_backbone=False, backbone=None, use_pretrained_backbone=False,
            encoder_layers=1, decoder_layers=1,
            backbone_config=hf.ResNetConfig(
                depths=[1, 1, 1, 1], hidden_sizes=[64, 128, 256, 512], layer_type="basic", out_features=["stage4"]
            ),
        ),
        lambda hf: hf.DetrImageProcessor(size={"shortest_edge": 480, "longest_edge": 800}),
        {"class_labels_classifier": (0.0, 2.5)},
        dynamic=True,
    ),
    _case(
        "hf-rt-detr-r18",
        "RTDetrForObjectDetection",
        lambda hf: hf.RTDetrConfig(
            id2label=names(_CLASSES), encoder_in_channels=[128, 256, 512], decoder_in_channels=[256, 256, 256],
            decoder_layers=1,
            backbone_config=hf.RTDetrResNetConfig(
                depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], layer_type="basic",
                out_features=["stage2", "stage3", "stage4"],
            ),
        ),
        lambda hf: hf.RTDetrImageProcessor(),
        {**_OFFSETS, "enc_score_head": (-5.0, 2.0), r"class_embed\.\d": (-6.0, 2.0)},
        dynamic=False,
    ),
    _case(
        "hf-yolos-tiny",
        "YolosForObjectDetection",
        lambda hf: hf.YolosConfig(
            id2label=names(_CLASSES), hidden_size=192, num_attention_heads=3, intermediate_size=768,
            image_size=[512, 864], use_mid_position_embeddings=False,
        ),
        lambda hf: hf.YolosImageProcessor(size={"shortest_edge": 512, "longest_edge": 864}),
        {r"class_labels_classifier.*layers\.2": (0.0, 2.5)},
        dynamic=True,
    ),
)  # fmt: skip
