"""Exports at real size: each made and answered by its own framework, then answered by Fovea from a bare drop.

`python -m tests.e2e.exports` makes them in an environment with requirements/exports.txt and keeps them in
.cache/exports; tests/e2e/test_exports.py serves them. `make exports` does both.
"""
