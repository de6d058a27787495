"""Folders of the repository that tests read."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "data"
PHOTOS = DATA / "photos"
CAT = DATA / "cat.jpg"
