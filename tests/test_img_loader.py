"""Image loaders: both give the same pixels and the same errors."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from loaders.image_loader import create_image_loader
from loaders.images import pillow_loader
from loaders.images.base import ImageLoader
from loaders.images.errors import ImageError, UnsupportedFormatError
from tests import odd_pictures, pictures
from tests.decoding import decode, decode_both, largest_difference, mean_difference
from tests.paths import ROOT

PHOTOS = sorted(p for p in (Path(__file__).parent / "data" / "photos").iterdir() if p.suffix != ".json")

# Largest difference of a channel, in levels of 255
SIXTEEN_BIT_LEVELS = 1  # OpenCV rounds 16-bit colour, Pillow cuts it
JPEG_QUALITY_95_LEVELS = 12  # what JPEG itself loses on the smooth test scene, against PNG
JPEG_QUALITY_95_MEAN_LEVELS = 1.0
WEBP_LEVELS = 24
WEBP_MEAN_LEVELS = 2.5

WRITABLE_MODES = {
    "JPEG": "1 L RGB CMYK YCbCr",
    "PNG": "1 L LA P RGB RGBA",
    "WEBP": "L LA P RGB RGBA",
    "GIF": "1 L LA P RGB RGBA",
    "BMP": "1 L P RGB RGBA",
    "TIFF": "1 L LA P RGB RGBA CMYK YCbCr",
    "AVIF": "L RGB RGBA",
}


# --- what the loaders agree on


def test_loaders_decode_photos_to_equal_pixels() -> None:
    for photo in PHOTOS:
        opencv, pillow = decode_both(photo.read_bytes())
        assert np.array_equal(opencv, pillow), photo.name
        with Image.open(photo) as reference:
            assert np.array_equal(pillow, np.array(reference.convert("RGB"))), photo.name


def test_loaders_decode_odd_pictures_to_equal_pixels() -> None:
    for name, expected in odd_pictures.READABLE.items():
        data = odd_pictures.read(name)
        opencv, pillow = decode_both(data)
        assert np.array_equal(opencv, pillow), name
        assert create_image_loader("opencv").load(data).info.format == expected[0], name
        assert pillow.shape == (expected[2], expected[1], 3), name


@pytest.mark.parametrize(("odd", "expected"), odd_pictures.REJECTED.items())
def test_odd_picture_raises_the_listed_error(loader: ImageLoader, odd: str, expected: type[ImageError]) -> None:
    with pytest.raises(ImageError) as caught:
        loader.load(odd_pictures.read(odd))
    assert type(caught.value) is expected
    assert not any(word in str(caught.value) for word in ("/", "PIL", "cv2", "0x", "Error", "Traceback"))


def test_table_of_odd_pictures_is_complete() -> None:
    files = {str(f.relative_to(odd_pictures.FOLDER)) for f in odd_pictures.FOLDER.rglob("*") if f.is_file()}
    assert files - {"README.md"} == set(odd_pictures.ODD_PICTURES)


def test_all_formats_are_supported(loader: ImageLoader) -> None:
    assert loader.formats == ("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF", "AVIF", "HEIC")


@pytest.mark.parametrize("image_format", WRITABLE_MODES)
def test_colour_modes_equal_pillows_conversion(loader: ImageLoader, image_format: str) -> None:
    for mode in WRITABLE_MODES[image_format].split():
        data = pictures.encode(Image.fromarray(pictures.scene()).convert(mode), image_format)
        with Image.open(BytesIO(data)) as reference:
            assert np.array_equal(decode(loader, data), np.array(reference.convert("RGB"))), mode


@pytest.mark.parametrize("marked", [True, False])
def test_cmyk_jpeg_is_read_as_inverted(loader: ImageLoader, marked: bool) -> None:
    cmyk = Image.fromarray(pictures.scene()).convert("CMYK")
    data = pictures.encode(cmyk, "JPEG", quality=100)
    if not marked:
        start = data.index(b"\xff\xee")
        data = data[:start] + data[start + 2 + int.from_bytes(data[start + 2 : start + 4], "big") :]
    assert mean_difference(decode(loader, data), np.array(cmyk.convert("RGB"))) < JPEG_QUALITY_95_MEAN_LEVELS


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}, {}])
def test_jpegs_of_all_kinds_agree_with_png(loader: ImageLoader, options: dict[str, int]) -> None:
    scene = pictures.scene()
    from_png = decode(loader, pictures.encode(scene, "PNG"))
    from_jpeg = decode(loader, pictures.encode(scene, "JPEG", quality=95, **options))
    assert np.array_equal(from_png, scene)
    assert largest_difference(from_jpeg, from_png) <= JPEG_QUALITY_95_LEVELS
    assert mean_difference(from_jpeg, from_png) <= JPEG_QUALITY_95_MEAN_LEVELS


# --- upright


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "WEBP"])
def test_a_rotated_picture_equals_its_upright_twin(loader: ImageLoader, image_format: str) -> None:
    options = {"lossless": True, "exact": True} if image_format == "WEBP" else {}
    scene = pictures.scene()
    for orientation in range(1, 9):
        twin = pictures.rotated_twin(scene, image_format, orientation, **options)
        assert np.array_equal(decode(loader, twin), scene), orientation


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_jpeg_equals_its_upright_twin(loader: ImageLoader, orientation: int) -> None:
    scene = pictures.scene()  # sides are multiples of 16: blocks stay blocks
    twin = decode(loader, pictures.rotated_twin(scene, "JPEG", orientation, quality=95))
    upright = decode(loader, pictures.encode(scene, "JPEG", quality=95))
    assert largest_difference(twin, upright) <= JPEG_QUALITY_95_LEVELS
    assert mean_difference(twin, upright) <= JPEG_QUALITY_95_MEAN_LEVELS


def test_avif_transformations_are_undone(loader: ImageLoader) -> None:
    for orientation in ("rot0mir0", "rot1mir0", "rot2mir0", "rot3mir1"):
        data = odd_pictures.read(f"exif_orientation/{orientation}.avif")
        with Image.open(BytesIO(data)) as reference:
            upright = ImageOps.exif_transpose(reference).convert("RGB")
        assert np.array_equal(decode(loader, data), np.array(upright))


# --- transparency and depth


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_transparency_is_composited_over_white(loader: ImageLoader, image_format: str) -> None:
    colour = np.full((16, 32, 4), (200, 0, 40, 0), np.uint8)
    colour[:, 8:16, 3], colour[:, 16:, 3] = 102, 255
    options: dict[str, dict[str, object]] = {
        "WEBP": {"lossless": True, "exact": True},
        "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    }
    pixels = decode(loader, pictures.encode(colour, image_format, **options.get(image_format, {})))
    assert largest_difference(pixels[:, :8], np.full((16, 8, 3), 255, np.uint8)) <= 1
    half = np.array([233, 153, 169], np.uint8)  # 102/255 = 40 % of the colour, 60 % of white
    assert largest_difference(pixels[:, 8:16], np.broadcast_to(half, (16, 8, 3))) <= 2
    assert largest_difference(pixels[:, 16:], colour[:, 16:, :3]) <= 2


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "TIFF"])
def test_transparent_pixels_keep_their_colour_and_opaque_pictures_have_no_alpha(
    loader: ImageLoader, image_format: str
) -> None:
    colour = np.full((4, 6, 4), (200, 0, 40, 255), np.uint8)
    options: dict[str, object] = {"lossless": True, "exact": True} if image_format == "WEBP" else {}
    assert loader.load(pictures.encode(colour, image_format, **options)).alpha is None
    colour[0, :, 3] = 0
    picture = loader.load(pictures.encode(colour, image_format, **options))
    assert np.array_equal(picture.pixels, colour[:, :, :3])
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, colour[:, :, 3])
    assert picture.info.alpha


def test_every_level_of_alpha_is_rounded_to_the_nearest(loader: ImageLoader) -> None:
    alpha, value = np.meshgrid(np.arange(256), np.arange(256))
    rgba = np.stack([value, value, value, alpha], axis=2).astype(np.uint8)
    exact = np.rint((value * alpha + 255 * (255 - alpha)) / 255).astype(np.uint8)
    assert np.array_equal(decode(loader, pictures.encode(rgba, "PNG"))[:, :, 0], exact)


@pytest.mark.parametrize("image_format", ["PNG", "GIF"])
def test_a_transparent_palette_entry_is_white(loader: ImageLoader, image_format: str) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.paste(0, (0, 0, 4, 8))
    pixels = decode(loader, pictures.encode(image, image_format, transparency=0))
    assert (pixels[:, :4] == 255).all()
    assert (pixels[:, 4:] == (200, 0, 0)).all()


@pytest.mark.parametrize("key", [0, 3, 6, 200])
def test_a_transparent_grey_is_white(loader: ImageLoader, key: int) -> None:
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 4, axis=0)
    pixels = decode(loader, pictures.png(grey, 0, pictures.png_chunk(b"tRNS", key.to_bytes(2, "big"))))
    expected = np.where(grey == key, 255, grey)
    assert np.array_equal(pixels, np.repeat(expected, 3, axis=2))


def test_16_bit_grey_is_rounded_not_cut(loader: ImageLoader) -> None:
    grey = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    exact = np.rint(grey / 257).astype(np.uint8)
    assert np.array_equal(decode(loader, pictures.png(grey, 0)), np.repeat(exact, 3, axis=2))


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_grey_tiff_is_rounded_in_both_byte_orders(loader: ImageLoader, order: str) -> None:
    grey = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    mode = "I;16" if order == "<" else "I;16B"
    image = Image.frombytes(mode, (64, 64), grey.astype(f"{order}u2").tobytes())
    exact = np.rint(grey / 257).astype(np.uint8)
    assert np.array_equal(decode(loader, pictures.encode(image, "TIFF"))[:, :, 0], exact)


@pytest.mark.parametrize(("channels", "colour_type"), [(3, 2), (2, 4), (4, 6)])
def test_16_bit_png_keeps_its_levels(loader: ImageLoader, channels: int, colour_type: int) -> None:
    samples = np.arange(64 * 64 * channels, dtype=np.uint16).reshape(64, 64, channels) * 5
    colours = 1 if channels == 2 else 3
    samples[:, :, colours:] = 65535
    shown = np.rint(samples[:, :, :colours] / 257)
    pixels = decode(loader, pictures.png(samples, colour_type))
    assert largest_difference(pixels, np.broadcast_to(shown, pixels.shape).astype(np.uint8)) <= SIXTEEN_BIT_LEVELS


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_tiff_is_unsupported(loader: ImageLoader, mode: str) -> None:
    data = pictures.encode(Image.new(mode, (4, 4)), "TIFF")
    with pytest.raises(UnsupportedFormatError, match=r"^TIFF .* samples"):
        loader.load(data)


# --- animations


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP", "AVIF", "TIFF"])
def test_the_first_frame_is_the_picture(loader: ImageLoader, image_format: str) -> None:
    first, second = Image.new("RGB", (32, 32), (250, 10, 10)), Image.new("RGB", (32, 32), (10, 10, 250))
    data = pictures.encode(first, image_format, save_all=True, append_images=[second])
    with Image.open(BytesIO(data)) as reference:
        assert getattr(reference, "n_frames", 1) == 2
    assert largest_difference(decode(loader, data), np.array(first)) <= 8


# --- HEIC


def test_heic_is_read_with_pillow_heif(loader: ImageLoader) -> None:
    assert decode(loader, odd_pictures.read("heif/RGB_10__29x100.heif")).shape == (100, 29, 3)


def test_rotated_heic_is_upright(loader: ImageLoader) -> None:
    from pillow_heif import from_pillow

    scene = pictures.scene()
    buffer = BytesIO()
    stored = Image.fromarray(scene).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[274] = 6
    from_pillow(stored).save(buffer, quality=95, exif=exif.tobytes())
    picture = loader.load(buffer.getvalue())
    assert picture.info.width == 96
    assert mean_difference(picture.pixels, scene) < WEBP_MEAN_LEVELS


def test_heic_without_pillow_heif_names_the_package(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pillow_loader, "find_spec", lambda _: None)
    bare = create_image_loader(name)
    assert "HEIC" not in bare.formats
    with pytest.raises(UnsupportedFormatError, match=r"HEIC pictures are not supported.*install pillow-heif"):
        bare.load(odd_pictures.read("heif/L_8__29x100.heif"))


@pytest.mark.slow
def test_pillow_heif_is_imported_with_the_first_heic() -> None:
    code = (
        "import sys; from loaders.image_loader import create_image_loader as c; from tests import pictures as p;"
        "c('opencv').load(p.encode(p.scene(), 'PNG')); sys.exit('pillow_heif' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# --- many at once, and no noise


def test_loader_is_thread_safe(loader: ImageLoader) -> None:
    files = [photo.read_bytes() for photo in PHOTOS[:3]] + [odd_pictures.read(n) for n in odd_pictures.READABLE]
    alone = [loader.load(data).pixels for data in files]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda data: loader.load(data).pixels, files * 3))
    assert all(np.array_equal(one, other) for one, other in zip(alone * 3, together, strict=True))


def test_valid_files_write_nothing_to_stderr(loader: ImageLoader, capfd: pytest.CaptureFixture[str]) -> None:
    grey_with_colour_profile = pictures.with_png_chunk(
        pictures.encode(pictures.scene()[:, :, 0].copy(), "PNG"), b"iCCP", b"icc\x00\x00junk"
    )
    for data in [*map(odd_pictures.read, odd_pictures.READABLE), grey_with_colour_profile]:
        loader.load(data)
    assert capfd.readouterr().err == ""
