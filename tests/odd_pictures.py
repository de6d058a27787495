"""Expected results of the files in tests/data/odd_pictures: (format, upright width, upright height) or an error."""

from pathlib import Path

from loaders.images.errors import (
    CorruptImageError,
    ImageError,
    ImageTooLargeError,
    TruncatedImageError,
    UnsupportedFormatError,
)

FOLDER = Path(__file__).parent / "data" / "odd_pictures"

ODD_PICTURES: dict[str, tuple[str, int, int] | type[ImageError]] = {
    "animated/comment_after_last_frame.gif": ("GIF", 1, 1),
    "animated/delay.png": ("PNG", 128, 64),
    "animated/dispose_bgnd.gif": ("GIF", 100, 100),
    "animated/iss634.gif": ("GIF", 245, 245),
    "animated/iss634.webp": ("WebP", 245, 245),
    "animated/missing_background.gif": ("GIF", 32, 32),
    "bombs/badwidth.bmp": ImageTooLargeError,
    "bombs/decompression_bomb.gif": ImageTooLargeError,
    "bombs/decompression_bomb.ico": UnsupportedFormatError,
    "bombs/l2rgb_read.bmp": ImageTooLargeError,
    "corrupt/broken_data_stream.png": TruncatedImageError,
    "corrupt/bw_gradient.png": ("PNG", 256, 10),
    "corrupt/corrupted.heic": CorruptImageError,
    "corrupt/invalid-exif.jpg": ("JPEG", 200, 200),
    "corrupt/max_uint32_exif.jpg": TruncatedImageError,
    "corrupt/not_enough_data.jp2": UnsupportedFormatError,
    "corrupt/oom.tif": CorruptImageError,
    "corrupt/png_decompression_dos.png": ("PNG", 1, 1),
    "corrupt/shortfile.bmp": TruncatedImageError,
    "corrupt/truncated_jpeg.jpg": TruncatedImageError,
    "corrupt/unknown_compression_method.png": ("PNG", 57, 57),
    "corrupt/xmp_tags_orientation.png": ("PNG", 326, 268),
    "corrupt/zero_bb.eps": UnsupportedFormatError,
    "corrupt/zero_width.gif": CorruptImageError,
    "depth_alpha/16_bit_noise.tif": ("TIFF", 32, 32),
    "depth_alpha/16bit.MM.cropped.tif": ("TIFF", 64, 64),
    "depth_alpha/i_trns.png": ("PNG", 64, 64),
    "depth_alpha/l_trns.png": ("PNG", 64, 64),
    "depth_alpha/rgb_trns.png": ("PNG", 64, 64),
    "depth_alpha/tRNS_null_1x1.png": ("PNG", 1, 1),
    "depth_alpha/transparent.gif": ("GIF", 200, 150),
    "depth_alpha/transparent.webp": ("WebP", 200, 150),
    "exif_orientation/f8-exif.jpg": ("JPEG", 40, 80),
    "exif_orientation/hopper_orientation_2.webp": ("WebP", 128, 128),
    "exif_orientation/hopper_orientation_4.jpg": ("JPEG", 128, 128),
    "exif_orientation/hopper_orientation_4.webp": ("WebP", 128, 128),
    "exif_orientation/hopper_orientation_5.webp": ("WebP", 128, 128),
    "exif_orientation/hopper_orientation_6.jpg": ("JPEG", 128, 128),
    "exif_orientation/hopper_orientation_6.webp": ("WebP", 128, 128),
    "exif_orientation/hopper_orientation_7.jpg": ("JPEG", 128, 128),
    "exif_orientation/hopper_orientation_7.webp": ("WebP", 128, 128),
    "exif_orientation/hopper_orientation_8.jpg": ("JPEG", 128, 128),
    "exif_orientation/orientation_rectangle.jpg": ("JPEG", 1, 2),
    "exif_orientation/rot0mir0.avif": ("AVIF", 640, 427),
    "exif_orientation/rot1mir0.avif": ("AVIF", 640, 427),
    "exif_orientation/rot2mir0.avif": ("AVIF", 640, 427),
    "exif_orientation/rot3mir1.avif": ("AVIF", 640, 427),
    "heif/L_8__29x100.heif": ("HEIC", 29, 100),
    "heif/RGBA_8__29x100.heif": ("HEIC", 29, 100),
    "heif/RGB_10__29x100.heif": ("HEIC", 29, 100),
    "heif/zPug_3.heic": ("HEIC", 64, 64),
    "modes/hopper.bmp": ("BMP", 128, 128),
    "modes/hopper.gif": ("GIF", 128, 128),
    "modes/hopper.ico": UnsupportedFormatError,
    "modes/hopper.jpg": ("JPEG", 128, 128),
    "modes/hopper.ppm": UnsupportedFormatError,
    "modes/hopper.psd": UnsupportedFormatError,
    "modes/hopper.webp": ("WebP", 128, 128),
    "modes/hopper_gray.jpg": ("JPEG", 128, 128),
    "modes/hopper_lzma.tif": ("TIFF", 128, 128),
    "modes/hopper_webp_bits.ppm": UnsupportedFormatError,
    "modes/la.tga": UnsupportedFormatError,
    "modes/lab.tif": UnsupportedFormatError,
    "modes/tiff_strip_cmyk_16l_jpeg.tif": ("TIFF", 100, 100),
    "modes/tiff_strip_cmyk_jpeg.tif": ("TIFF", 100, 100),
    "progressive/tower_grayscale.jpg": ("JPEG", 512, 512),
    "progressive/tower_progressive.jpg": ("JPEG", 512, 512),
}
READABLE = {name: expected for name, expected in ODD_PICTURES.items() if isinstance(expected, tuple)}
REJECTED = {name: expected for name, expected in ODD_PICTURES.items() if not isinstance(expected, tuple)}


def read(name: str) -> bytes:
    return (FOLDER / name).read_bytes()
