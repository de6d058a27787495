"""Heat maps of the shipped models show what the model looks at."""

from pathlib import Path

import numpy as np
import pytest

from engine.explain.explainer import Method
from engine.explain.target import TargetQuery
from engine.models.loaded_model import LoadedModel
from tests.e2e.explain.maps import Photo, in_input, objects, photos
from tests.e2e.explain.measures import Areas, areas, correlation, maps_of, on_all_cores, pointing_game, shuffled
from tests.engine.explain.explaining import explain
from tests.engine.tasks.real_models import load

# A part of the pictures of docs/explain.md, which `python -m tests.e2e.explain` measures.
PHOTOS, OBJECTS, SAMPLES = photos()[::5], objects()[::2], 100


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load("efficientnet-lite0")


def test_insertion_and_deletion_beat_random_and_centred_maps(model: LoadedModel) -> None:
    def measured(photo: Photo) -> dict[str, Areas]:
        return {name: areas(model, photo, heat) for name, heat in maps_of(model, photo, samples=SAMPLES).items()}

    found = on_all_cores(measured, PHOTOS)
    insertion = {name: np.mean([of_photo[name].insertion for of_photo in found]) for name in found[0]}
    deletion = {name: np.mean([of_photo[name].deletion for of_photo in found]) for name in found[0]}
    for method in Method:
        for other in ("random", "centred Gaussian"):
            assert insertion[f"`{method}`"] > insertion[other], (insertion, deletion)
            assert deletion[f"`{method}`"] < deletion[other], (insertion, deletion)


@pytest.mark.parametrize("method", Method)
def test_peaks_lie_in_the_boxes_of_the_objects(method: Method) -> None:
    found = pointing_game(load("picodet-s-416"), method, OBJECTS, SAMPLES)
    assert sum(one.hit for one in found) >= len(OBJECTS) - 1


@pytest.mark.parametrize("method", Method)
def test_other_weights_change_the_map(model: LoadedModel, tmp_path: Path, method: Method) -> None:
    other = shuffled("efficientnet-lite0", tmp_path)
    for photo in PHOTOS[::3]:
        data, query = photo.file.read_bytes(), TargetQuery(class_id=photo.class_id)
        one, another = (in_input(each, explain(each, data, query, method)) for each in (model, other))
        assert correlation(one, another) < 0.6, photo.file.name
