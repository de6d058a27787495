"""Memory that several processes share by its descriptor, and that is gone with the last of them."""

import os
import tempfile


def nameless_memory(name: str) -> int:
    """A descriptor that may be truncated and mapped; `name` is for who looks at the process. Raises OSError.

    A file without a name where the system has no such memory, or does not give it.
    """
    try:
        return os.memfd_create(name)
    except (AttributeError, OSError):
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())
