"""What can be wrong with a model.

ModelError
├── ModelSpecError       model.toml, the labels or the graph do not fit together
├── ModelFileError       the runtime cannot load the file
├── ProviderError        an execution provider that was asked for did not come up
├── ModelRunError        the runtime fails on an input
│   ├── RunMemoryError   there is not enough memory for it now
│   └── RunStoppedError  it was stopped, nobody waits for its answer
├── ModelCheckError      the model failed its check in a process of its own
├── QuarantinedError     its runs have crashed too many processes
├── ModelStateError      what operators choose cannot be written down
└── UnknownModelError    no such model, or no such version of it
"""

from collections.abc import Sequence


class ModelError(Exception):
    """The message names the model's part and the remedy, never a path outside the models folder."""


class ModelSpecError(ModelError):
    pass


class ModelFileError(ModelError):
    pass


class QuarantinedError(ModelError):
    pass


class ModelRunError(ModelError):
    pass


class RunMemoryError(ModelRunError):
    pass


class ModelCheckError(ModelError):
    pass


class ModelStateError(ModelError):
    pass


class ProviderError(ModelError):
    def __init__(self, asked: str, available: Sequence[str]) -> None:
        self.asked, self.available = asked, tuple(available)
        super().__init__(f"execution provider {asked} did not come up; available here: {', '.join(available)}")


class UnknownModelError(ModelError):
    """`known` lists what there is instead."""

    def __init__(self, what: str, known: Sequence[str]) -> None:
        self.known = tuple(known)
        super().__init__(f"There is no {what}. There is: {', '.join(known) or 'none'}.")


class RunStoppedError(ModelRunError):
    """Nobody waits for the answer any more, so the run was stopped."""

    def __init__(self) -> None:
        super().__init__("the run was stopped; nobody waits for its answer any more")
