"""What can go wrong while a graph is quantised."""


class QuantizationError(Exception):
    """No version was made; the message says why and what to do."""
