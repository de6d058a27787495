"""Dialects: the HTTP interfaces of other services, for clients that people already have. Each is one module."""
