"""Vision towers of transformers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.exports.case import Answer, Case
from tests.e2e.exports.hugging_face import maker, run

_BOUND = 0.02  # of the distance between photos
_SIX_LAYERS = {"num_hidden_layers": 6}


def vector(output: str) -> Callable[[Any, Any, Any], Answer]:
    """Of tokens, the first."""

    def answer(model: Any, processor: Any, picture: Any) -> Answer:
        found = run(model, processor, picture)[output][0].numpy()
        return {"vector": found[0] if found.ndim == 2 else found}

    return answer


def save_clip_processor(processor: Any, folder: Path) -> None:
    """As `CLIPProcessor.save_pretrained` of transformers 5, which writes no preprocessor_config.json."""
    from transformers import CLIPProcessor, CLIPTokenizer

    CLIPProcessor(image_processor=processor, tokenizer=CLIPTokenizer()).save_pretrained(folder)
    assert not (folder / "preprocessor_config.json").exists()


def _case(name: str, model: str, output: str, config: Any, processor: Any, **options: Any) -> Case:
    make = maker(vector(output), model, config, processor, {}, **options)
    return Case(name, "transformers", "image-feature-extraction", make, _BOUND)


CASES = (
    _case(
        "hf-siglip-vision", "SiglipVisionModel", "pooler_output",
        lambda hf: hf.SiglipVisionConfig(**_SIX_LAYERS), lambda hf: hf.SiglipImageProcessor(),
        outputs=("last_hidden_state", "pooler_output"),
    ),
    _case(
        "hf-clip-vision", "CLIPVisionModelWithProjection", "image_embeds",
        lambda hf: hf.CLIPVisionConfig(**_SIX_LAYERS), lambda hf: hf.CLIPImageProcessor(),
        outputs=("image_embeds", "last_hidden_state"),
    ),
    _case(
        "hf-clip-vision-processor-config", "CLIPVisionModelWithProjection", "image_embeds",
        lambda hf: hf.CLIPVisionConfig(**_SIX_LAYERS), lambda hf: hf.CLIPImageProcessor(),
        outputs=("image_embeds", "last_hidden_state"), save=save_clip_processor,
    ),
    _case(
        "hf-dinov2-small", "Dinov2Model", "pooler_output",
        lambda hf: hf.Dinov2Config(hidden_size=384, num_attention_heads=6, image_size=518, patch_size=14),
        lambda hf: hf.BitImageProcessor(
            size={"shortest_edge": 256}, crop_size={"height": 224, "width": 224},
            image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225],
        ),
        outputs=("last_hidden_state", "pooler_output"),
    ),
)  # fmt: skip
