"""Heat maps of the shipped models show what the model looks at."""

from pathlib import Path

import numpy as np
import pytest

from engine.explain.explainer import Method
from engine.explain.target import Question
from engine.models.loaded_model import LoadedModel
from tests.e2e.explain.maps import Photo, in_input, photos
from tests.e2e.explain.measures import Areas, areas, correlation, maps_of, on_all_cores, pointing_game, shuffled
from tests.engine.explain.explaining import explain
from tests.engine.tasks.real_models import load

MOST = {Method.OCCLUSION: 8, Method.RISE: 8}  # peaks in the box of nine objects, at least


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load("efficientnet-lite0")


def test_insertion_and_deletion_beat_random_and_centred_maps(model: LoadedModel) -> None:
    def measured(photo: Photo) -> dict[str, Areas]:
        return {name: areas(model, photo, heat) for name, heat in maps_of(model, photo, samples=100).items()}

    found = on_all_cores(measured, photos()[::2])
    insertion = {name: np.mean([of_photo[name].insertion for of_photo in found]) for name in found[0]}
    deletion = {name: np.mean([of_photo[name].deletion for of_photo in found]) for name in found[0]}
    assert len(found) >= 20
    for method in Method:
        for other in ("random", "centred Gaussian"):
            assert insertion[f"`{method}`"] > insertion[other], (insertion, deletion)
            assert deletion[f"`{method}`"] < deletion[other], (insertion, deletion)


@pytest.mark.parametrize("method", Method)
def test_peaks_lie_in_the_boxes_of_the_objects(method: Method) -> None:
    found = pointing_game(load("picodet-s-416"), method)
    assert len(found) == 9
    assert sum(one.hit for one in found) >= MOST[method]


@pytest.mark.parametrize("method", Method)
def test_other_weights_change_the_map(model: LoadedModel, tmp_path: Path, method: Method) -> None:
    other = shuffled("efficientnet-lite0", tmp_path)
    for photo in photos()[::10]:
        data, question = photo.file.read_bytes(), Question(class_id=photo.class_id)
        one, another = (in_input(each, explain(each, data, question, method)) for each in (model, other))
        assert correlation(one, another) < 0.6, photo.file.name
