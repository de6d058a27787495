"""Errors of models.

ModelError
├── ModelSpecError       model.toml, the labels or the graph contradict each other
├── ModelFileError       the runtime cannot load the file
├── ProviderError        a requested execution provider did not come up
├── ModelRunError        the runtime fails on an input
│   ├── RunMemoryError   there is not enough memory for the run
│   └── RunStoppedError  the run was stopped because its client left
├── ModelCheckError      the model failed its check in a separate process
│   └── CheckTimeoutError  the check took too long, which a busy machine may cause
├── ModelSampleError     the answers differ from the samples beside the model, or those cannot be read
├── ModelStateError      the models folder or its state file cannot be written
└── UnknownModelError    the model or the version does not exist
"""

from collections.abc import Sequence


class ModelError(Exception):
    """The message names the model's part and the remedy, never a path outside the models folder."""


class ModelSpecError(ModelError):
    pass


class ModelFileError(ModelError):
    pass


class ModelRunError(ModelError):
    pass


class RunMemoryError(ModelRunError):
    pass


class ModelCheckError(ModelError):
    pass


class CheckTimeoutError(ModelCheckError):
    pass


class ModelSampleError(ModelError):
    pass


class ModelStateError(ModelError):
    pass


class ProviderError(ModelError):
    def __init__(self, requested: str, available: Sequence[str]) -> None:
        self.requested, self.available = requested, tuple(available)
        super().__init__(f"execution provider {requested} did not come up; available here: {', '.join(available)}")


class UnknownModelError(ModelError):
    """`known` lists the models, versions or labels that exist."""

    def __init__(self, what: str, known: Sequence[str]) -> None:
        self.known = tuple(known)
        super().__init__(f"There is no {what}. There is: {', '.join(known) or 'none'}.")


class RunStoppedError(ModelRunError):
    def __init__(self) -> None:
        super().__init__("the run was stopped because its client left")
