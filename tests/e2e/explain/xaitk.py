"""xaitk-saliency's maps from the masks and scores of an explanation."""

from dataclasses import dataclass

import numpy as np
from xaitk_saliency.impls.gen_classifier_conf_sal.occlusion_scoring import OcclusionScoring
from xaitk_saliency.impls.gen_classifier_conf_sal.rise_scoring import RISEScoring
from xaitk_saliency.impls.perturb_image.rise import RISEGrid

from engine.explain.explainer import Method
from engine.explain.masked_input import MaskedInput
from engine.explain.masks import RISE_CELLS, RISE_SHOWN, Masks, Occlusion, Rise
from engine.models.loaded_model import LoadedModel
from loaders.images.base import Size
from tests.e2e.explain.maps import Array, Photo, class_scores, decoded

SAMPLES, SEED = 300, 0


@dataclass(frozen=True)
class Compared:
    """One photo's map, and xaitk-saliency's of the same masks and scores."""

    ours: Array
    theirs: Array


def xaitk_masks(size: Size) -> Array:
    blank = np.zeros((size.height, size.width))
    return np.asarray(RISEGrid(SAMPLES, RISE_CELLS, RISE_SHOWN, SEED, threads=0).perturb(blank), np.float32)


def compared(model: LoadedModel, photo: Photo, method: Method) -> Compared:
    """RISE adds up scores, so pixels that more masks happen to show look stronger; centred scores remove that."""
    picture = decoded(photo.file)
    tensor = model.preprocessor(picture)
    masked = MaskedInput(tensor, model.preprocessor.frame(picture.info.size), model.preprocessor.layout)
    masks: Masks = Occlusion(masked.size) if method is Method.OCCLUSION else Rise(masked.size, SAMPLES, SEED)
    [whole] = class_scores(model, tensor, photo.class_id)
    used, scores = list[Array](), list[float]()
    for index in range(masks.total):
        used.append(masks.mask(index, scores))
        scores += class_scores(model, masked.masked(used[-1]), photo.class_id)
    reference, perturbed = np.array([whole]), np.array(scores)[:, np.newaxis]
    if method is Method.OCCLUSION:
        [theirs] = OcclusionScoring().generate(reference, perturbed, np.array(used))
    else:
        centred = perturbed - perturbed.mean()
        [theirs] = RISEScoring(RISE_SHOWN).generate(reference, centred, np.array(used))
    return Compared(masks.heat_map(whole, scores), np.asarray(theirs, np.float32))
