"""Heat maps agree with those of xaitk-saliency, from the same masks and the same seed."""

import numpy as np
import pytest

from engine.explain.explainer import Method
from engine.explain.masks import Rise
from engine.models.loaded_model import LoadedModel
from loaders.images.base import Size
from tests.e2e.explain.maps import photos
from tests.e2e.explain.measures import correlation
from tests.e2e.explain.xaitk import SAMPLES, SEED, compared, xaitk_masks
from tests.engine.tasks.real_models import load


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load("efficientnet-lite0")


@pytest.mark.parametrize("size", [Size(224, 224), Size(200, 120)], ids=str)
def test_random_masks_of_one_seed_are_those_of_xaitk(size: Size) -> None:
    """They differ at the border of the enlarged grid, which OpenCV repeats and scikit-image mirrors."""
    rise = Rise(size, SAMPLES, SEED)
    differences = [np.abs(rise.mask(i) - theirs).mean() for i, theirs in enumerate(xaitk_masks(size))]
    assert max(differences) < 0.02


@pytest.mark.parametrize(("method", "least"), [(Method.OCCLUSION, 0.8), (Method.RISE, 0.99)])
def test_maps_correlate_with_those_of_xaitk(model: LoadedModel, method: Method, least: float) -> None:
    for photo in photos()[::20]:
        both = compared(model, photo, method)
        assert correlation(both.ours, both.theirs) > least, photo.file.name
