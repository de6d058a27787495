"""Depth estimation and super-resolution of transformers."""

from typing import Any

from tests.e2e.exports.case import Answer, Case
from tests.e2e.exports.hugging_face import Heads, maker, run

_BOUND = 0.005
_POSITIVE = (3.0, 1.0)
_FEW = ("bucket.webp", "1x1.png", "3000x20.png")  # of processors that Fovea does not follow


def estimate(model: Any, processor: Any, picture: Any) -> Answer:
    found = processor.post_process_depth_estimation(run(model, processor, picture), [(picture.height, picture.width)])
    return {"depth": found[0]["predicted_depth"].numpy().reshape(picture.height, picture.width)}


def reconstruct(model: Any, processor: Any, picture: Any) -> Answer:
    return {"tensor": run(model, processor, picture)["reconstruction"].numpy()}


def _case(
    name: str, model: str, config: Any, processor: Any, head: str, *, dynamic: bool = False, **fields: Any
) -> Case:
    heads: Heads = {head: _POSITIVE}
    make = maker(
        estimate, f"{model}ForDepthEstimation", config, processor, heads, outputs=("predicted_depth",), dynamic=dynamic
    )
    return Case(name, "transformers", "depth-estimation", make, _BOUND, **fields)


CASES = (
    _case(
        "hf-dpt-base",
        "DPT",
        lambda hf: hf.DPTConfig(),
        lambda hf: hf.DPTImageProcessor(),
        r"head\.head\.4",
    ),
    _case(
        "hf-depth-anything-small",
        "DepthAnything",
        lambda hf: hf.DepthAnythingConfig(
            backbone_config=hf.Dinov2Config(
                hidden_size=384, num_attention_heads=6, image_size=518, patch_size=14, apply_layernorm=True,
                out_features=["stage3", "stage6", "stage9", "stage12"], reshape_hidden_states=False,
            ),
            reassemble_hidden_size=384, neck_hidden_sizes=[48, 96, 192, 384], fusion_hidden_size=64,
        ),
        lambda hf: hf.DPTImageProcessor(
            size={"height": 518, "width": 518}, keep_aspect_ratio=False, ensure_multiple_of=14, resample=3,
            image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225],
        ),
        r"head\.conv3",
    ),
    _case(
        "hf-zoedepth",
        "ZoeDepth",
        lambda hf: hf.ZoeDepthConfig(
            backbone_config=hf.BeitConfig(
                image_size=384, num_hidden_layers=12, hidden_size=768, use_relative_position_bias=True,
                out_features=["stage3", "stage6", "stage9", "stage12"], reshape_hidden_states=False,
            ),
            backbone_hidden_size=768,
        ),
        lambda hf: hf.ZoeDepthImageProcessor(keep_aspect_ratio=False, ensure_multiple_of=32),
        r"relative_head\.conv3",
        pictures=_FEW,
        unlike="it mirrors the picture at its borders and resizes with align_corners",
    ),
    _case(
        "hf-glpn",
        "GLPN",
        lambda hf: hf.GLPNConfig(),
        lambda hf: hf.GLPNImageProcessor(),
        r"^head\.head\.2",
        dynamic=True,
    ),
    Case(
        "hf-swin2sr",
        "transformers",
        "tensor",
        maker(
            reconstruct,
            "Swin2SRForImageSuperResolution",
            lambda hf: hf.Swin2SRConfig(depths=[2, 2], num_heads=[6, 6], embed_dim=60, upscale=2),
            lambda hf: hf.Swin2SRImageProcessor(),
            {r"upsample\.final_convolution|final_convolution": (0.5, 0.3)},
            outputs=("reconstruction",),
            dynamic=True,
            size=(96, 72),
        ),
        _BOUND,
        pictures=_FEW,
        unlike="it keeps the size and mirrors the picture at its right and bottom borders, up to a multiple of 8",
    ),
)  # fmt: skip
