"""The pictures that every export is asked about: photos, and the kinds on which services go wrong."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from tests.paths import DATA, PHOTOS, ROOT

_CAT, _HOUND = PHOTOS / "skimage_chelsea.png", PHOTOS / "gcompris_farm_dog.webp"
_PHOTOS = {
    "cat.png": _CAT,
    "bee.jpg": PHOTOS / "debian_palapeli-data_european-honey-bee.jpg",  # 1620 x 1280
    "panda.webp": PHOTOS / "gcompris_erase_red_panda.webp",  # 1920 x 1080
    "bucket.webp": PHOTOS / "gcompris_things_bucket.webp",  # upright, 245 x 320
    "bus.jpg": DATA / "detection" / "2011_000006.jpg",
}
ODD = ("1x1.png", "3000x20.png", "exif6.jpg", "grey.jpg", "rgba.png", "cmyk.jpg")
PICTURES = (*_PHOTOS, *ODD)

PICTURES_FOLDER = ROOT / ".cache" / "exports" / "pictures"  # see `write_pictures`

# The pictures whose statistics calibrate random weights; flat ones, too, so that they are not out of all bounds.
CALIBRATION = [
    *(PICTURES_FOLDER / name for name in ("1x1.png", "3000x20.png", "grey.jpg")),
    *(PHOTOS / f"gcompris_{name}.webp" for name in ("fish_fish25", "tools_hammer1")),
    PHOTOS / "debian_palapeli-data_citrus-fruits.jpg",
    *_PHOTOS.values(),
]


def write_pictures() -> None:
    folder = PICTURES_FOLDER
    noisy("").parent.mkdir(parents=True, exist_ok=True)
    for name, source in _PHOTOS.items():
        (folder / name).write_bytes(source.read_bytes())
    with Image.open(_HOUND) as opened:
        dog = opened.convert("RGB")
    for name in ODD:
        (folder / name).write_bytes(_odd(name, dog))
    for name in PICTURES:
        with Image.open(folder / name) as opened:
            _with_noise(opened).save(noisy(name))


def noisy(name: str) -> Path:
    """A copy of a picture in which one value of a hundred, at least one, is one level off."""
    return PICTURES_FOLDER / "noisy" / f"{name}.png"


def _with_noise(picture: Image.Image) -> Image.Image:
    upright = ImageOps.exif_transpose(picture)
    values = np.asarray(upright.convert("RGBA" if upright.mode == "RGBA" else "RGB"), np.int16).copy()
    random, colours = np.random.default_rng(0), values[..., :3]
    chosen = np.zeros(colours.size, np.int16)
    chosen[: max(1, colours.size // 100)] = 1
    colours += random.permutation(chosen).reshape(colours.shape) * random.choice((-1, 1), colours.shape).astype(
        np.int16
    )
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def _odd(name: str, photo: Image.Image) -> bytes:
    match name:
        case "1x1.png":
            return _encoded(Image.new("RGB", (1, 1), (200, 90, 30)), "PNG")
        case "3000x20.png":
            return _encoded(photo.resize((3000, 2250)).crop((0, 1000, 3000, 1020)), "PNG")
        case "exif6.jpg":
            exif = Image.Exif()
            exif[0x0112] = 6
            return _encoded(photo, "JPEG", quality=92, exif=exif)
        case "grey.jpg":
            return _encoded(photo.convert("L"), "JPEG", quality=92)
        case "rgba.png":
            alpha = Image.new("L", photo.size, 0)
            ImageDraw.Draw(alpha).ellipse((100, 50, 800, 700), fill=255)
            photo = photo.copy()
            photo.putalpha(alpha)
            return _encoded(photo.resize((512, 384)), "PNG")
        case _:
            return _encoded(photo.convert("CMYK"), "JPEG", quality=92)


def _encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    data = BytesIO()
    picture.save(data, kind, **options)
    return data.getvalue()
