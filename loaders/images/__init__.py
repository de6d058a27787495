"""Bytes -> picture: value types, the base class, the decoders."""
