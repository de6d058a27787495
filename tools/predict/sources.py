"""The pictures that the command line names: files, folders, patterns, zip archives, videos and standard input."""

import glob
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile, ZipInfo

from loaders.images.formats import has_picture_suffix
from tools.predict.video import encoded, frames, has_video_suffix
from utils.stdin_loader import read_stdin

STDIN = "-"
_MAX_MEMBER_BYTES = 2**30
_HIDDEN_BY_MACOS = ("__MACOSX", "._")


@dataclass(frozen=True, slots=True)
class Item:
    """One picture. `name` is shown, and identifies it with `time_s`; `target` is its relative path among saved files.

    `stamp` changes with the content of its file. `time_s`: the time of a frame in its video.
    """

    name: str
    target: PurePosixPath
    stamp: str
    read: Callable[[], bytes]
    time_s: float | None = None

    @property
    def key(self) -> tuple[str, float]:
        return self.name, self.time_s or 0.0


@dataclass(frozen=True, slots=True)
class Source:
    """A picture, or a video: `item` without `time_s`, and its file."""

    item: Item
    video: Path | None = None

    def items(self, every_s: float) -> Iterator[Item]:
        """Raises OSError for a video that cannot be read."""
        if self.video is None:
            yield self.item
            return
        for time_s, frame in frames(self.video, every_s):
            target = self.item.target / f"{time_s:010.3f}.png"
            yield replace(self.item, target=target, read=partial(encoded, frame), time_s=time_s)


class SourceFinder:
    """Finds each source once, also if it is asked again. Targets are unique.

    `grows`: files are added to the folders meanwhile, so a file counts once it is as it was the time before.
    """

    def __init__(self, paths: Sequence[str], *, grows: bool = False) -> None:
        self._paths, self._grows = paths, grows
        self._found: set[str] = set()
        self._waiting: dict[str, str] = {}
        self._targets: set[str] = set()

    def find(self) -> tuple[list[Source], dict[str, str]]:
        """The new sources in the order of the command line, those of a folder sorted, and the errors by path."""
        found: dict[str, Source] = {}
        errors: dict[str, str] = {}
        for path in self._paths:
            try:
                found |= {source.item.name: source for source in self._of(path)}
            except (OSError, BadZipFile) as error:
                errors[path] = getattr(error, "strerror", None) or str(error)
        new = {name: source for name, source in found.items() if name not in self._found}
        if self._grows:
            before, self._waiting = self._waiting, {name: source.item.stamp for name, source in new.items()}
            new = {name: source for name, source in new.items() if before.get(name) == source.item.stamp}
        self._found |= new.keys()
        return [self._unique(source) for source in new.values()], errors

    def _of(self, path: str) -> list[Source]:
        if path == STDIN:
            return [Source(Item(STDIN, PurePosixPath("stdin"), "", read_stdin))]
        file = Path(path)
        if file.is_dir():
            return self._in_folder(file)
        if not file.exists() and any(character in path for character in "*?["):
            found = glob.glob(path, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute patterns
            matches = sorted(match for match in found if Path(match).is_file())
            if not matches:
                raise FileNotFoundError(f"no file matches {path}")
            return [source for match in matches for source in _of_file(Path(match), PurePosixPath(Path(match).name))]
        return _of_file(file, PurePosixPath(file.name))

    def _in_folder(self, folder: Path) -> list[Source]:
        """With several paths, the folder's own name comes first in its targets."""
        root = PurePosixPath(folder.resolve().name) if len(self._paths) > 1 else PurePosixPath()
        files = [file for file in sorted(folder.rglob("*")) if has_picture_suffix(file) or has_video_suffix(file)]
        if not files and not self._grows:
            raise FileNotFoundError(f"no pictures in the folder {folder}")
        return [
            source
            for file in files
            if file.is_file() or file.is_symlink()
            for source in _of_file(file, root / file.relative_to(folder).as_posix())
        ]

    def _unique(self, source: Source) -> Source:
        target, number = source.item.target, 1
        while str(target).casefold() in self._targets:
            number += 1
            target = source.item.target.with_stem(f"{source.item.target.stem}-{number}")
        self._targets.add(str(target).casefold())
        return replace(source, item=replace(source.item, target=target))


def _of_file(file: Path, target: PurePosixPath) -> list[Source]:
    """Raises FileNotFoundError, BadZipFile."""
    if not file.is_file():
        if not file.is_symlink():
            raise FileNotFoundError(f"no folder {file}")
        return [Source(Item(str(file), target, "", file.read_bytes))]
    if file.suffix.lower() == ".zip":
        return _in_archive(file, target)
    status = file.stat()
    item = Item(str(file), target, f"{status.st_size}-{status.st_mtime_ns}", file.read_bytes)
    return [Source(item, file if has_video_suffix(file) else None)]


def _in_archive(file: Path, target: PurePosixPath) -> list[Source]:
    archive = ZipFile(file)
    members = sorted((member for member in archive.infolist() if _is_picture(member)), key=lambda one: one.filename)
    if not members:
        raise FileNotFoundError(f"no pictures in the archive {file}")
    return [
        Source(
            Item(
                f"{file}/{member.filename}",
                target.with_suffix("").joinpath(*_safe_parts(member.filename)),
                f"{member.file_size}-{member.CRC}",
                partial(_read_member, archive, member),
            )
        )
        for member in members
    ]


def _is_picture(member: ZipInfo) -> bool:
    path = PurePosixPath(member.filename)
    hidden = any(part.startswith(_HIDDEN_BY_MACOS) for part in path.parts)
    return not member.is_dir() and not hidden and has_picture_suffix(path)


def _safe_parts(name: str) -> list[str]:
    """The parts of a member's name that stay below the folder they are joined to."""
    return [
        part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..") and ":" not in part
    ]


def _read_member(archive: ZipFile, member: ZipInfo) -> bytes:
    """Raises OSError."""
    if member.file_size > _MAX_MEMBER_BYTES:
        raise OSError(f"it is larger than {_MAX_MEMBER_BYTES >> 20} MiB")
    try:
        return archive.read(member)
    except (BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:  # encrypted, unknown method
        raise OSError(f"it cannot be unpacked: {error}") from error
