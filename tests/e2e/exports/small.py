"""Exports at a tiny width, which the repository keeps with their frameworks' answers as samples: tests/data/exports.

python -m tests.e2e.exports.small FOLDER [NAME ...]
"""

import os
import shutil
import sys
import warnings
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from PIL import Image

from tests.e2e.exports.__main__ import ENVIRONMENT
from tests.e2e.exports.case import THRESHOLD, Answer, Case
from tests.e2e.exports.classifiers import classifier
from tests.e2e.exports.depth import estimate
from tests.e2e.exports.detectors import detect
from tests.e2e.exports.hugging_face import maker, names
from tests.e2e.exports.pictures import PICTURES_FOLDER, write_pictures
from tests.e2e.exports.segmenters import panoptic, semantic
from tests.e2e.exports.timm_models import timm_maker
from tests.e2e.exports.torchvision_models import torchvision_maker
from tests.e2e.exports.ultralytics_models import BOXES, read_objects, yolo_maker
from tests.e2e.exports.vectors import save_clip_processor, vector
from tests.paths import CAT, PHOTOS
from tools.record_samples import Framework, record

_TOLERANCE = 0.02
_PROBABILITY = 0.001  # of a hundred classes or more: the first has about 0.1
_SIZES = [8, 16, 24, 32]
_ONES = [1, 1, 1, 1]
_STAGES = [f"stage{i}" for i in range(1, 5)]
_CONVNEXT: Mapping[str, Any] = {"depths": _ONES, "dims": _SIZES}
_CLASSES = 10


def main(folder: Path, chosen: list[str]) -> None:
    os.environ |= ENVIRONMENT
    warnings.simplefilter("ignore")
    write_pictures()
    for case in CASES:
        if not chosen or case.name in chosen:
            _make(case, folder)


def _make(case: Case, folder: Path) -> None:
    drop = folder / case.name
    shutil.rmtree(drop, ignore_errors=True)
    drop.mkdir(parents=True)
    answer = case.make(drop)
    how = f"the model that `python -m tests.e2e.exports.small` makes; random weights, for {case.task}"
    name = f"{case.exporter} {metadata.version(case.exporter)}"
    framework = Framework(name, how, lambda picture: _recorded(answer(picture)), case.threshold)
    samples = drop / "samples" if drop.exists() else folder / f"{case.name}.samples"
    record(samples, _pictures(), framework, _PROBABILITY if case.task == "image-classification" else _TOLERANCE)


def _pictures() -> list[Path]:
    """Small ones: wider than high, upright, and with alpha."""
    cat, dog = PICTURES_FOLDER / "small-cat.jpg", PICTURES_FOLDER / "small-dog.png"
    with Image.open(CAT) as picture:
        picture.resize((180, 120)).save(cat, quality=90)
    with Image.open(PICTURES_FOLDER / "rgba.png") as picture:
        picture.resize((64, 48)).save(dog)
    return [cat, PHOTOS / "gcompris_things_bucket.webp", dog]


def _recorded(answer: Answer) -> dict[str, Any]:
    """As a callable of tools/record_samples.py returns it."""
    labels = [str(label) for label in answer.get("labels", ())]
    if "vector" in answer:
        return {"embedding": answer["vector"]}
    if "depth" in answer:
        return {"predictions": [{"depth": answer["depth"]}]}
    if "classes" in answer:
        classes = answer["classes"]
        present = sorted({int(class_id) for class_id in classes.flat})
        return {"predictions": [{"class_id": i, "label": labels[i], "mask": classes == i} for i in present]}
    columns = {"boxes": "box", "masks": "mask"}
    found: list[dict[str, Any]] = []
    for i, score in enumerate(answer["scores"]):
        row = {ours: answer[theirs][i] for theirs, ours in columns.items() if theirs in answer}
        found.append(row or {"class_id": i})
        found[-1] |= {"score": score} | ({"label": labels[i]} if labels else {})
    return {"predictions": found}


def _shufflenet() -> Any:
    from torchvision.models import ShuffleNetV2

    return ShuffleNetV2([1, 1, 1], [8, 16, 24, 32, 16], num_classes=1000)


CASES = (
    classifier("hf-convnext", "ConvNext", "ConvNext", {"depths": _ONES, "hidden_sizes": _SIZES},
               {"size": {"shortest_edge": 224}, "crop_pct": 0.875}),
    classifier("hf-levit", "Levit", "Levit",
               {"hidden_sizes": [16, 24, 32], "num_attention_heads": [1, 2, 2], "depths": [1, 1, 1],
                "key_dim": [8, 8, 8], "image_size": 112},
               {"size": {"shortest_edge": 112}, "crop_size": {"height": 112, "width": 112}},
               head=r"classifier\.linear"),
    classifier("hf-poolformer", "PoolFormer", "PoolFormer", {"depths": _ONES, "hidden_sizes": _SIZES}),
    Case(
        "hf-clip-processor-config", "transformers", "image-feature-extraction",
        maker(
            vector("image_embeds"), "CLIPVisionModelWithProjection",
            lambda hf: hf.CLIPVisionConfig(
                hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, projection_dim=16
            ),
            lambda hf: hf.CLIPImageProcessor(), {}, outputs=("image_embeds",), save=save_clip_processor,
        ),
        _TOLERANCE,
    ),
    Case(
        "hf-yolos", "transformers", "object-detection",
        maker(
            detect, "YolosForObjectDetection",
            lambda hf: hf.YolosConfig(
                id2label=names(_CLASSES), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                intermediate_size=64, num_detection_tokens=20, image_size=[128, 216],
                use_mid_position_embeddings=False,
            ),
            lambda hf: hf.YolosImageProcessor(size={"shortest_edge": 128, "longest_edge": 216}),
            {r"bbox_predictor.*layers\.2": (0.0, 1.0), r"class_labels_classifier.*layers\.2": (0.0, 2.5)},
            outputs=("logits", "pred_boxes"), dynamic=True,
        ),
        _TOLERANCE, threshold=THRESHOLD,
    ),
    Case(
        "hf-segformer", "transformers", "image-segmentation",
        maker(
            semantic, "SegformerForSemanticSegmentation",
            lambda hf: hf.SegformerConfig(
                id2label=names(_CLASSES), depths=_ONES, hidden_sizes=[8, 8, 16, 16], num_attention_heads=_ONES,
                decoder_hidden_size=16,
            ),
            lambda hf: hf.SegformerImageProcessor(size={"height": 128, "width": 128}, do_reduce_labels=True),
            {r"decode_head\.classifier$": (0.0, 2.0)}, dynamic=True,
        ),
        _TOLERANCE,
    ),
    Case(
        "hf-maskformer", "transformers", "image-segmentation",
        maker(
            panoptic, "MaskFormerForInstanceSegmentation",
            lambda hf: hf.MaskFormerConfig(
                id2label=names(_CLASSES),
                backbone_config=hf.ResNetConfig(
                    embedding_size=8, hidden_sizes=_SIZES, depths=_ONES, layer_type="basic", out_features=_STAGES
                ),
                fpn_feature_size=32, mask_feature_size=16,
                decoder_config=hf.DetrConfig(
                    d_model=16, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=32, encoder_layers=1,
                    encoder_attention_heads=2, encoder_ffn_dim=32, num_queries=10,
                ),
            ),
            lambda hf: hf.MaskFormerImageProcessor(size={"height": 128, "width": 128}),
            {"class_predictor": (0.0, 4.0), r"mask_embedder.*2(\.0)?$": (0.0, 0.5)},
            outputs=("class_queries_logits", "masks_queries_logits"),
        ),
        _TOLERANCE,
    ),
    Case(
        "hf-depth-anything", "transformers", "depth-estimation",
        maker(
            estimate, "DepthAnythingForDepthEstimation",
            lambda hf: hf.DepthAnythingConfig(
                backbone_config=hf.Dinov2Config(
                    hidden_size=16, num_hidden_layers=4, num_attention_heads=2, mlp_ratio=2, image_size=126,
                    patch_size=14, apply_layernorm=True, out_features=_STAGES,
                    reshape_hidden_states=False,
                ),
                reassemble_hidden_size=16, neck_hidden_sizes=_SIZES, fusion_hidden_size=8, head_hidden_size=8,
            ),
            lambda hf: hf.DPTImageProcessor(
                size={"height": 126, "width": 126}, keep_aspect_ratio=False, ensure_multiple_of=14, resample=3
            ),
            {r"head\.conv3": (3.0, 1.0)}, outputs=("predicted_depth",),
        ),
        _TOLERANCE,
    ),
    Case(
        "timm-border", "timm", "image-classification",
        timm_maker("test_convnext2", _CONVNEXT, crop_mode="border", crop_pct=0.9), _TOLERANCE,
    ),
    Case(
        "timm-oblong", "timm", "image-classification",
        timm_maker("test_convnext2", _CONVNEXT, input_size=(3, 128, 192), crop_pct=0.9), _TOLERANCE,
    ),
    Case(
        "yolov8", "ultralytics", "object-detection",
        yolo_maker("yolov8n", "detect", BOXES, read_objects, tiny=True, imgsz=320), _TOLERANCE,
        threshold=THRESHOLD,
    ),
    Case(
        "torchvision", "torchvision", "image-classification",
        torchvision_maker("shufflenet_v2_x0_5", "IMAGENET1K_V1", "^fc$", build=_shufflenet), _TOLERANCE,
    ),
)  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
