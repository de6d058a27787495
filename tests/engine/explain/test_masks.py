"""The order of hidden windows, random masks, and the maps that follow from scores."""

import numpy as np
import pytest

from engine.explain.masks import Masks, Occlusion, Rise
from engine.tasks.outputs import Array
from loaders.images.base import Size

SIZES = [Size(224, 224), Size(200, 90), Size(8, 8), Size(3, 40), Size(1, 1)]


def scored(masks: Masks, weights: Array) -> list[float]:
    """The scores of a model that adds up the shown pixels, weighted."""
    scores: list[float] = []
    for index in range(masks.total):
        scores.append(float((masks.mask(index, scores) * weights).sum()))
    return scores


def spot(size: Size) -> Array:
    """Weights that add up to 1, around one place."""
    y, x = np.mgrid[0 : size.height, 0 : size.width]
    weights = np.exp(-(((x / size.width - 0.7) / 0.1) ** 2) - ((y / size.height - 0.3) / 0.1) ** 2)
    return np.asarray(weights / weights.sum(), np.float32)


def test_occlusion_takes_98_passes_with_that_of_the_whole_picture() -> None:
    assert Occlusion(Size(224, 224)).total == 97


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_windows_hide_every_pixel_once(size: Size) -> None:
    occlusion = Occlusion(size)
    windows = min(7, max(1, size.height // 2)) * min(7, max(1, size.width // 2))
    hidden = np.sum([1 - occlusion.mask(index, []) for index in range(windows)], axis=0)
    assert (hidden == 1).all()


def test_the_strongest_windows_are_split() -> None:
    size = Size(70, 70)
    occlusion = Occlusion(size)
    scores = scored(occlusion, spot(size))
    strongest = int(np.argmin(scores[:49]))
    quarters = np.sum([1 - occlusion.mask(49 + quarter, scores) for quarter in range(4)], axis=0)
    assert (quarters == 1 - occlusion.mask(strongest, scores)).all()


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("method", ["occlusion", "rise"])
def test_maps_have_the_size_of_masks_and_are_finite(size: Size, method: str) -> None:
    masks: Masks = Occlusion(size) if method == "occlusion" else Rise(size, 5, 0)
    scores = scored(masks, spot(size))
    for count in range(len(scores) + 1):
        found = masks.heat_map(1.0, scores[:count])
        assert found.shape == (size.height, size.width)
        assert np.isfinite(found).all()


@pytest.mark.parametrize("method", ["occlusion", "rise"])
def test_a_map_follows_the_weights_of_a_linear_model(method: str) -> None:
    size = Size(112, 112)
    masks: Masks = Occlusion(size) if method == "occlusion" else Rise(size, 500, 0)
    weights = spot(size)
    found = masks.heat_map(1.0, scored(masks, weights))
    assert np.corrcoef(found.ravel(), weights.ravel())[0, 1] > 0.85


def test_a_map_of_the_first_windows_is_zero_elsewhere() -> None:
    size = Size(70, 70)
    found = Occlusion(size).heat_map(1.0, [0.5] * 21)
    assert (found[:27] == 0.5).all()
    assert (found[33:] == 0).all()


def test_masks_of_one_seed_are_equal_and_begin_alike() -> None:
    size = Size(64, 48)
    one, same, longer, other = (Rise(size, count, seed) for count, seed in ((4, 1), (4, 1), (9, 1), (4, 2)))
    assert all((one.mask(i) == same.mask(i)).all() for i in range(4))
    assert all((one.mask(i) == longer.mask(i)).all() for i in range(4))
    assert not all((one.mask(i) == other.mask(i)).all() for i in range(4))


def test_random_masks_show_half_of_the_picture() -> None:
    rise = Rise(Size(64, 64), 200, 0)
    assert np.mean([rise.mask(i) for i in range(200)]) == pytest.approx(0.5, abs=0.02)
