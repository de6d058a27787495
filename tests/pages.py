"""The Markdown pages of the repository, and what tests read from them."""

import re
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tests.paths import ROOT

README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "deploy").rglob("*.md")),
    ROOT / "models" / "README.md",
]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A fenced code block. `follows` is true if only blank lines separate it from the block before."""

    language: str
    text: str
    follows: bool


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    text = read(page)
    found = list(_FENCE.finditer(text))
    gaps = [""] * bool(found) + [text[before.end() : after.start()] for before, after in pairwise(found)]
    return [
        Block(match[1], match[2], index > 0 and not gap.strip())
        for index, (match, gap) in enumerate(zip(found, gaps, strict=True))
    ]


def prose(page: Path) -> str:
    """The page without its code blocks."""
    return _FENCE.sub("", read(page))


def commands(page: Path) -> list[str]:
    """Lines of the page's shell blocks, and inline code that starts with `make`."""
    lines = [line for block in blocks(page) if block.language == "sh" for line in block.text.splitlines()]
    return [*lines, *re.findall(r"`(make [^`]+)`", prose(page))]


def anchors(page: Path, levels: str = "##+") -> list[str]:
    """The anchors of the page's headings of these levels, as GitHub makes them."""
    headings = re.findall(rf"^{levels} (.+)$", prose(page), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


def links(page: Path) -> list[str]:
    return re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose(page))


class Program(NamedTuple):
    """A program of a page, and the output that the page shows for it."""

    language: str
    code: str
    shown: str


def programs(page: Path) -> list[Program]:
    """The page's code blocks that are followed by a block of the language `text`."""
    return [
        Program(code.language, code.text, output.text)
        for code, output in pairwise(blocks(page))
        if output.language == "text" and output.follows
    ]
