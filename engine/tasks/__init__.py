"""The tasks by name: adding one is its file and its line here."""

from collections.abc import Callable

from engine.tasks.image_classification import ImageClassification
from engine.tasks.task import Task
from loaders.model_spec import ModelSpec, TaskName

_TASKS: dict[TaskName, Callable[[ModelSpec], Task]] = {TaskName.IMAGE_CLASSIFICATION: ImageClassification}


def create_task(spec: ModelSpec) -> Task:
    return _TASKS[spec.task](spec)
