"""The page at / and its files: self-contained, relative, small, and public."""

import hashlib
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import Serve
from tests.paths import ROOT
from tests.server import Server

FOLDER = ROOT / "api" / "static" / "page"
VENDOR = FOLDER / "vendor"
OURS = sorted(file for file in FOLDER.iterdir() if file.suffix in {".html", ".js", ".css"})
CODE = [*OURS, FOLDER / "icon.svg", VENDOR / "preact.module.js", VENDOR / "htm.module.js"]
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".webp": "image/webp"}
MAX_BYTES = 150_000
MAX_LINES = 350


def test_root_is_a_page_without_inline_script_or_style(server: Server) -> None:
    response = server.client.get("/")
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["cache-control"] == "no-cache"
    assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*\ssrc=)", response.text)


def test_files_name_relative_addresses_that_exist(server: Server) -> None:
    named: set[str] = set()
    for file in OURS:
        text = file.read_text(encoding="utf-8")
        assert "://" not in text, file
        assert not re.search(r"""(?:src|href)=["']/""", text), file
        # Modules import from beside themselves; the page and its elements name what is below /page/.
        named.update(re.findall(r"""(?:from|import\() ?"\./([^"]+)\"""", text), re.findall(r'"page/([^"$]+)"', text))
    assert named
    for name in named:
        served = server.client.get(f"/page/{name}")
        assert served.status_code == 200, name
        assert served.headers["content-type"].partition(";")[0] == TYPES[Path(name).suffix]


def test_files_are_short() -> None:
    lengths = {file.name: len(file.read_text(encoding="utf-8").splitlines()) for file in OURS}
    assert not {name: lines for name, lines in lengths.items() if lines > MAX_LINES}


def test_code_of_all_views_is_below_150_kb() -> None:
    """Uncompressed, as it is sent: HTML, CSS, scripts and the vendored libraries, but the charts.

    Not counted: uPlot, which the operator's view loads, and the four sample pictures.
    """
    assert sum(file.stat().st_size for file in CODE) < MAX_BYTES


def test_vendored_files_have_their_origin_and_licence() -> None:
    readme = (VENDOR / "README.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `([\w.]+)` \| `[\w@.]+` \| `[\w./]+` \| .*`(LICENSE-\w+)`\) \| `(\w{64})` \|$", readme, re.MULTILINE
    )
    assert {name for name, _, _ in rows} == {file.name for file in VENDOR.iterdir() if file.suffix in {".js", ".css"}}
    for name, licence, digest in rows:
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest
        assert (VENDOR / licence).is_file()


def test_samples_have_their_licence() -> None:
    readme = (FOLDER / "samples" / "README.md").read_text(encoding="utf-8")
    samples = {file.name for file in (FOLDER / "samples").glob("*.webp")}
    assert set(re.findall(r"^\| `(\S+\.webp)` \|", readme, re.MULTILINE)) == samples
    assert len(samples) == 4
    assert all((FOLDER / "samples" / name).stat().st_size < 30_000 for name in samples)


@pytest.mark.parametrize(
    "path", ["nothing.js", "", "..%2fdocs.html", "../docs.html", "%00", "vendor", "vendor/../../start.js"]
)
def test_other_files_are_404(server: Server, path: str) -> None:
    assert server.client.get(f"/page/{path}").status_code == 404


def test_colours_of_classes_are_those_of_drawn_pictures() -> None:
    palette = pytest.importorskip("engine.drawing").PALETTE
    [line] = re.findall(r"CLASSES = \[(.*?)\]", (FOLDER / "colours.js").read_text(encoding="utf-8"), re.DOTALL)
    assert [tuple(bytes.fromhex(colour)) for colour in re.findall(r'"#(\w+)"', line)] == list(palette)


@pytest.mark.parametrize(("name", "colours"), [("depth", cv2.COLORMAP_INFERNO), ("heat", cv2.COLORMAP_TURBO)])
def test_colour_maps_are_those_of_drawn_pictures(name: str, colours: int) -> None:
    """The page has some of the 256 colours, and interpolates."""
    [stops] = re.findall(rf"{name}: \[(.*?)\]", (FOLDER / "colours.js").read_text(encoding="utf-8"), re.DOTALL)
    found = [list(bytes.fromhex(colour)) for colour in re.findall(r"\b[0-9a-f]{6}\b", stops)]
    levels = np.linspace(0, 255, len(found)).round().astype(np.uint8)[:, None]
    assert found == cv2.applyColorMap(levels, colours)[:, 0, ::-1].tolist()


def test_page_is_public_where_keys_are_needed(serve: Serve) -> None:
    """So that it can ask for the key; it holds nothing of the service."""
    client = serve(keys=("secret",), protect=("docs", "metrics")).client
    assert client.get("/").status_code == 200
    assert client.get("/page/main.js").status_code == 200
    assert client.get("/models").status_code == 401
