"""How good heat maps are: insertion and deletion, pointing game, other weights; `python -m tests.e2e.explain`."""
