"""The registry of tasks: a new task is one file, and one line here."""

from collections.abc import Callable

from engine.tasks.depth_estimation import DepthEstimation
from engine.tasks.image_classification import ImageClassification
from engine.tasks.image_feature_extraction import ImageFeatureExtraction
from engine.tasks.image_segmentation import image_segmentation
from engine.tasks.keypoint_detection import KeypointDetection
from engine.tasks.object_detection import object_detection
from engine.tasks.task import Task
from engine.tasks.tensor_output import TensorOutput
from engine.tasks.text_recognition import TextRecognition
from loaders.repository.specs.model_spec import ModelSpec, TaskName

_TASKS: dict[TaskName, Callable[[ModelSpec], Task]] = {
    TaskName.IMAGE_CLASSIFICATION: ImageClassification,
    TaskName.OBJECT_DETECTION: object_detection,
    TaskName.IMAGE_SEGMENTATION: image_segmentation,
    TaskName.IMAGE_FEATURE_EXTRACTION: ImageFeatureExtraction,
    TaskName.KEYPOINT_DETECTION: KeypointDetection,
    TaskName.DEPTH_ESTIMATION: DepthEstimation,
    TaskName.IMAGE_TO_TEXT: TextRecognition,
    TaskName.TENSOR: TensorOutput,
}


def create_task(spec: ModelSpec) -> Task:
    """Raises ModelSpecError if the spec lacks what the task needs."""
    return _TASKS[spec.task](spec)
