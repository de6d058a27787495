"""The products of matrices in a resize. test_preprocessor.py tests their results."""

import numpy as np
import pytest
from PIL import Image

from engine.preprocessing.geometry import Span
from engine.preprocessing.resampling import Resampling, plan_resampling
from loaders.repository.specs.model_spec import Interpolation

# From here on OpenBLAS starts threads, which spin while they wait.
THREADED_PRODUCT = 1 << 18


def plan(width: int, height: int, side: int, *, exact: bool = False) -> Resampling:
    across, down = Span(0, side, 0.0, width), Span(0, side, 0.0, height)
    return plan_resampling(across, down, (height, width), Interpolation.BICUBIC, exact=exact)


@pytest.mark.parametrize("side", [224, 640, 1024])
@pytest.mark.parametrize("size", [(451, 300), (1000, 750), (1920, 1080), (3000, 4000), (6000, 200)])
def test_products_are_too_small_for_threads_of_openblas(size: tuple[int, int], side: int) -> None:
    """With a margin for the extra lines that runs at equal distances read."""
    planned = plan(*size, side)
    for band in planned.down:
        rows = band.last - band.first
        assert all(run.weights[0].size * rows < 1.5 * THREADED_PRODUCT for run in planned.across.runs)
        assert all(run.weights[0].size * side < 1.5 * THREADED_PRODUCT for run in band.runs)


@pytest.mark.parametrize("size", [(451, 300), (1920, 1080), (5, 9000), (9000, 5), (1, 1), (1302, 953), (333, 777)])
def test_runs_cover_the_result_and_stay_inside_the_source(size: tuple[int, int]) -> None:
    planned = plan(*size, 100)
    for axis, source in ([planned.across], size[0]), (planned.down, size[1]):
        assert [line for band in axis for run in band.runs for line in range(100)[run.lines]] == list(range(100))
        for band in axis:
            assert 0 <= band.first < band.last <= source
            for run in band.runs:
                blocks, lines, seen = run.weights.shape
                assert 0 <= run.first <= run.first + (blocks - 1) * run.step + seen <= band.last - band.first
                assert run.weights.sum(axis=2) == pytest.approx(np.ones((blocks, lines)), abs=1e-5)


def test_blocks_are_grouped_in_few_runs() -> None:
    for size in ((451, 300), (600, 400), (1302, 953), (4000 // 4, 3000 // 4)):
        planned = plan(*size, 224)
        assert len(planned.across.runs) <= 3, size
        assert all(len(band.runs) <= 3 for band in planned.down), size


def test_a_picture_of_many_bands_is_equal_in_every_bit() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (2400, 1700, 3), np.uint8)
    planned = plan(1700, 2400, 60, exact=True)
    assert len(planned.down) > 3
    resized_across = Image.fromarray(pixels).resize((60, 2400), Image.Resampling.BICUBIC)
    expected = np.asarray(resized_across.resize((60, 60), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(planned(pixels).astype(np.uint8).transpose(1, 2, 0), expected)


def test_memory_stays_small_for_long_pictures() -> None:
    for size in ((65_000, 40), (40, 65_000), (10_000, 9_000)):
        planned = plan(*size, 224)
        columns = max(planned.across.last - planned.across.first, planned.width)
        assert max(band.last - band.first for band in planned.down) * columns <= 1 << 22
