"""The requests of a soak: photos and colours, single and in batches, for several models, valid and invalid."""

import random
from collections.abc import Sequence
from functools import partial
from typing import Any

from tests.answers import Answer
from tests.load.photos import Photo, big_photo, photos
from tests.load.requests import RIGHT, EchoRequests, Request, form, form_head, request_head

DEFAULT, DETECTOR = "efficientnet-lite0", "picodet-s-416"
_PHOTOS = 0.6  # share of the requests; the others are about colours
_DETECTED = "cat"
_BIG = "debian_palapeli-data_european-honey-bee.jpg"


class Mixture:
    """`echoes` makes requests for models that answer with a picture's colour."""

    def __init__(self, chance: random.Random, echoes: EchoRequests, cat: bytes) -> None:
        self._chance, self._echoes, self._cat = chance, echoes, cat
        self._photos = photos()
        self._big = big_photo(next(photo for photo in self._photos if photo.name == _BIG))

    def next(self, request_id: str) -> Request:
        if self._chance.random() >= _PHOTOS:
            return self._echoes.next(request_id)
        makes = (self._photo, self._photo_form, self._batch, self._large, self._detect)
        return self._chance.choices(makes, (6, 6, 1, 0.5, 1))[0](request_id)

    def _photo(self, request_id: str) -> Request:
        picture = self._chance.choice(self._photos)
        return self._raw(request_id, "photo raw", picture)

    def _large(self, request_id: str) -> Request:
        return self._raw(request_id, "12 megapixels", self._big)

    def _raw(self, request_id: str, kind: str, picture: Photo) -> Request:
        head = request_head("/infer", picture.media_type, len(picture.data), request_id)
        return Request(kind, DEFAULT, head, picture.data, partial(_top, pictures=[picture]))

    def _photo_form(self, request_id: str) -> Request:
        picture = self._chance.choice(self._photos)
        body = form([picture.data], "image")
        head = form_head(f"/infer?model={DEFAULT}&top_k=3", len(body), request_id)
        return Request("photo form", DEFAULT, head, body, partial(_top, pictures=[picture]))

    def _batch(self, request_id: str) -> Request:
        pictures = self._chance.choices(self._photos, k=self._chance.randint(2, 6))
        body = form([picture.data for picture in pictures], "images")
        head = form_head("/infer/batch", len(body), request_id)
        return Request("photo batch", DEFAULT, head, body, partial(_top, pictures=pictures))

    def _detect(self, request_id: str) -> Request:
        head = request_head(f"/infer?model={DETECTOR}&threshold=0.5", "image/jpeg", len(self._cat), request_id)
        return Request("detect", DETECTOR, head, self._cat, _is_a_cat)


def _top(answer: Answer, *, pictures: Sequence[Photo]) -> str:
    found = answer.json()
    results: list[dict[str, Any]] = found.get("results", [found])
    if len(results) != len(pictures):
        return f"wrong: {len(results)} results of {len(pictures)} pictures"
    for result, picture in zip(results, pictures, strict=True):
        if error := result.get("error"):
            return f"{error['status']} {error['code']}"
        top = result["predictions"][0]
        if top["class_id"] not in picture.classes:
            return f"wrong: {top} for {picture.name}"
    return RIGHT


def _is_a_cat(answer: Answer) -> str:
    labels = [one["label"] for one in answer.json()["predictions"]]
    return RIGHT if labels == [_DETECTED] else f"wrong: {labels} on the picture of one cat"
