"""The classes that `--classes` names."""

from collections.abc import Collection, Sequence
from difflib import get_close_matches

from engine.tasks.predictions import Classification, Detection, Prediction, Segment


class UnknownClassError(Exception):
    """The model has no such label or class id. The message has similar labels."""


def class_ids(text: str, labels: Sequence[str]) -> frozenset[int]:
    """`text`: one label, which may have commas, or labels and class ids with commas between.

    Raises UnknownClassError.
    """
    words = [text] if text in labels else [word.strip() for word in text.split(",") if word.strip()]
    return frozenset(class_id for word in words for class_id in _ids(word, labels))


def _ids(word: str, labels: Sequence[str]) -> list[int]:
    found = [class_id for class_id, label in enumerate(labels) if label == word]
    if not found and word.isdecimal() and (int(word) < len(labels) or not labels):
        return [int(word)]
    if not found:
        similar = get_close_matches(word, labels, n=5, cutoff=0.5) or labels[:5]
        raise UnknownClassError(f"the model has no class {word!r}; it has: {'; '.join(similar)}")
    return found


def only(predictions: Sequence[Prediction], classes: Collection[int]) -> list[Prediction]:
    return [
        prediction
        for prediction in predictions
        if isinstance(prediction, Classification | Detection | Segment) and prediction.class_id in classes
    ]
