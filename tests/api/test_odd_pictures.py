"""Odd, huge, broken and hostile pictures, sent to a server with either image loader."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from api.problems import KINDS
from loaders.image_loader import create_image_loader
from tests.odd_pictures import FOLDER, ODD_PICTURES
from tests.problems import assert_problem
from tests.server import Server, service_settings, serving


@pytest.fixture(scope="module", params=["opencv", "pillow"])
def decoding(request: pytest.FixtureRequest, tiny_models: Path) -> Iterator[Server]:
    settings = service_settings(models_dir=tiny_models, default_model="colour")
    with serving(settings, image_loader=create_image_loader(request.param)) as running:
        yield running


def test_odd_pictures_have_the_expected_answer_or_error(decoding: Server) -> None:
    for name, expected in ODD_PICTURES.items():
        response = decoding.client.post("/infer", content=(FOLDER / name).read_bytes())
        if isinstance(expected, tuple):
            assert response.status_code == 200, (name, response.text)
            image = response.json()["image"]
            assert (image["format"], image["width"], image["height"]) == expected, name
        else:
            assert_problem(response, KINDS[expected].status, KINDS[expected].code)


def test_every_odd_picture_has_an_expected_result() -> None:
    files = {str(file.relative_to(FOLDER)) for file in FOLDER.rglob("*.*") if file.name != "README.md"}
    assert files == set(ODD_PICTURES)
