"""Reads a Dockerfile into steps, and selects the files of a build's context as .dockerignore says."""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction: `name` in capitals, `flags` such as `--from=build`, `text` without them, on one line."""

    line: int
    name: str
    text: str
    flags: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"line {self.line}: {self.name} {self.text[:120]}"


def read_steps(dockerfile: Path) -> list[Step]:
    steps, start, text = [], 0, ""
    for number, line in enumerate(dockerfile.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        start = start if text else number
        text += line.strip()
        if text.endswith("\\"):
            text = text[:-1]
        else:
            steps.append(_step(start, text))
            text = ""
    return steps


def _step(line: int, text: str) -> Step:
    name, _, rest = text.partition(" ")
    flags = {}
    while found := re.match(r"--([\w-]+)=(\S+)\s+", rest):
        flags[found[1]] = found[2]
        rest = rest[found.end() :]
    return Step(line, name.upper(), rest.strip(), flags)


def copy_context(source: Path, target: Path) -> None:
    """Copies the files of `source` that its .dockerignore keeps."""
    for path in context_files(source):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / path, target / path)


def context_files(source: Path) -> Iterator[str]:
    rules = _Rules((source / ".dockerignore").read_text(encoding="utf-8").splitlines())
    for folder, folders, files in os.walk(source):
        at = Path(folder).relative_to(source)
        folders[:] = [name for name in folders if rules.enters((at / name).as_posix())]
        yield from (path for name in files if not rules.ignores(path := (at / name).as_posix()))


class _Rules:
    """The patterns of a .dockerignore; the last one that matches a path or a folder above it decides."""

    def __init__(self, lines: list[str]) -> None:
        patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        self._kept = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
        self._rules = [(_expression(pattern.removeprefix("!")), pattern.startswith("!")) for pattern in patterns]

    def ignores(self, path: str) -> bool:
        verdicts = [not kept for expression, kept in self._rules if expression.fullmatch(path)]
        return bool(verdicts) and verdicts[-1]

    def enters(self, folder: str) -> bool:
        return not self.ignores(folder) or any(kept.startswith(f"{folder}/") for kept in self._kept)


_WILDCARDS = {"**/": "(.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def _expression(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(_WILDCARDS.get(part, re.escape(part)) for part in parts) + "(/.*)?")
