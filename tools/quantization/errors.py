"""The error of quantisation."""


class QuantizationError(Exception):
    """The model cannot be quantised. The message has the reason and the remedy."""
