"""Bytes to pictures: value types, the base class, headers, decoders."""
