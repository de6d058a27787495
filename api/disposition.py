"""The Content-Disposition of a form's part (RFC 7578), as browsers and libraries really write it."""

import re
from urllib.parse import unquote_to_bytes

from api.problems import MalformedMultipartError

MAX_NAME = 255

# A quoted value ends at a quote behind which the parameter ends: some browsers escape neither quotes nor backslashes.
_PARAMETER = re.compile(
    r"""[ \t]*;[ \t;]*
    (?P<key>[!#$&+.^`|~\w*-]+)[ \t]*=[ \t]*
    (?: "(?P<quoted>(?:[^"\\]|\\.)*|.*?)"(?=[ \t]*(?:;|$)) | (?P<token>[^\s;"]*) )""",
    re.VERBOSE | re.ASCII | re.DOTALL,
)
_ESCAPED = re.compile(r'\\(["\\])')
# RFC 8187: UTF-8'en'na%C3%AFve.jpg
_EXTENDED = re.compile(r"(utf-8|iso-8859-1)'[\w-]*'(.+)", re.IGNORECASE)
# Old browsers tell where on its disk a file lies: C:\pictures\cat.jpg, \\server\pictures\cat.jpg.
_WITH_FOLDERS = re.compile(r"[A-Za-z]:\\(?!\")|\\\\")


def field_of(disposition: str) -> tuple[str, str | None]:
    """A part's field name and its filename, if it has one. `disposition` holds bytes as latin-1.

    `filename*` beats `filename`: who sends both has written the other for those that cannot read it.
    Raises MalformedMultipartError, also where something is told twice: two readers would read two things.
    """
    kind, separator, rest = disposition.partition(";")
    if kind.strip(" \t").lower() != "form-data":
        raise MalformedMultipartError("A part of the form lacks 'Content-Disposition: form-data; name=...'.")
    found = _parameters(separator + rest)
    name, filename = found.get("name"), found.get("filename")
    if name is None:
        raise MalformedMultipartError("A part of the form lacks its name.")
    extended = _EXTENDED.fullmatch(found.get("filename*") or "")
    if extended:
        charset = extended[1].lower()
        shown: str | None = unquote_to_bytes(extended[2]).decode(charset, "replace")[:MAX_NAME]
    else:
        shown = _text(_without_folders(filename)) if filename else None
    return _text(_ESCAPED.sub(r"\1", name)), shown


def _parameters(text: str) -> dict[str, str]:
    """As written, still escaped."""
    found: dict[str, str] = {}
    start = 0
    while start < len(text.rstrip(" \t;")):
        match = _PARAMETER.match(text, start)
        if not match:
            raise MalformedMultipartError("The Content-Disposition of a part of the form is malformed.")
        key = match["key"].lower()
        if key in found:
            raise MalformedMultipartError(f"A part of the form tells its {key} twice.")
        found[key] = match["token"] if match["quoted"] is None else match["quoted"]
        start = match.end()
    return found


def _without_folders(filename: str) -> str:
    if _WITH_FOLDERS.match(filename):
        return filename.rpartition("\\")[2]
    return _ESCAPED.sub(r"\1", filename)


def _text(value: str) -> str:
    return value.encode("latin-1").decode("utf-8", "replace")[:MAX_NAME]
