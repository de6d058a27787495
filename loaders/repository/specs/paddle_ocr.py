"""Resolves text recognition models of PaddleOCR, as RapidOCR exports them: metadata has their characters.

The classes are a blank, the characters in their order, and mostly a space (`use_space_char`).
"""

from loaders.onnx.onnx_file import OnnxGraph
from loaders.repository.specs.decision import Decisions, decide
from loaders.repository.specs.label_lists import labels_of
from loaders.repository.specs.model_files import ModelFiles
from loaders.repository.specs.model_spec import Activation, TaskName

SOURCE = "PaddleOCR metadata"

_CHARACTERS = "character"
_BLANK, _SPACE = "", " "


def resolve(files: ModelFiles, graph: OnnxGraph, _: Decisions) -> Decisions:
    """The graph contains softmax."""
    text = graph.metadata.get(_CHARACTERS)
    if not text or not graph.outputs or len(graph.outputs[0].shape) != 3:
        return {}
    characters = text.splitlines()
    is_without_space = graph.outputs[0].shape[2] == len(characters) + 1
    labels = [_BLANK, *characters, *([] if is_without_space else [_SPACE])]
    fields = {
        "task": TaskName.IMAGE_TO_TEXT,
        "activation": Activation.NONE,
        "labels": labels_of(f"{files.name}: {SOURCE}: {_CHARACTERS}", labels),
    }
    return decide(SOURCE, fields)
