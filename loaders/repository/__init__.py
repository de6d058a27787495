"""Folders -> models and versions; the state file."""
