"""Makes small pictures in memory: every format, rotated twins, and files with wrong headers."""

import struct
import zlib
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

# How Pillow has to store upright pixels so that the EXIF orientation turns them upright again
_STORED_BY_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def scene(width: int = 96, height: int = 64) -> Pixels:
    """A smooth picture with a different colour in each corner."""
    y, x = np.mgrid[0:height, 0:width]
    wave = 20 * np.sin(x / 9) + 20 * np.cos(y / 7)
    channels = (235 * x / width, 235 * y / height, 60 + 90 * (x + y) / (width + height) + wave)
    scene: Pixels = np.clip(np.stack(channels, axis=2), 0, 255).astype(np.uint8)
    return scene


def encode(image: Image.Image | Pixels, image_format: str, **options: object) -> bytes:
    buffer = BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(buffer, image_format, **options)
    return buffer.getvalue()


def rotated_twin(upright: Pixels, image_format: str, orientation: int, **options: object) -> bytes:
    """Encodes the picture rotated, with the EXIF orientation that turns it upright."""
    image = Image.fromarray(upright)
    if orientation > 1:
        image = image.transpose(_STORED_BY_ORIENTATION[orientation])
    exif = Image.Exif()
    exif[274] = orientation
    return encode(image, image_format, exif=exif, **options)


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png_header(width: int, height: int, bit_depth: int, colour_type: int) -> bytes:
    fields = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", fields)


def png(samples: NDArray[np.uint8] | NDArray[np.uint16], colour_type: int, *chunks: bytes) -> bytes:
    """Encodes `samples` (H, W, channels) of 8 or 16 bits; `chunks` come before the pixels."""
    bit_depth = samples.dtype.itemsize * 8
    rows = samples.astype(f">u{samples.dtype.itemsize}").reshape(len(samples), -1)
    packed = b"".join(b"\x00" + row.tobytes() for row in rows)
    parts = (png_header(samples.shape[1], samples.shape[0], bit_depth, colour_type), *chunks)
    return b"".join(parts) + png_chunk(b"IDAT", zlib.compress(packed)) + png_chunk(b"IEND", b"")


def png_bomb(width: int, height: int) -> bytes:
    """A valid black 1-bit PNG: 50 KB for 20,000 x 20,000."""
    rows = (bytes(1 + (width + 7) // 8) for _ in range(height))
    deflate = zlib.compressobj(9)
    pixels = b"".join([*(deflate.compress(row) for row in rows), deflate.flush()])
    return png_header(width, height, 1, 0) + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")


def with_png_chunk(data: bytes, kind: bytes, payload: bytes) -> bytes:
    """Inserts the chunk before IEND."""
    return data[:-12] + png_chunk(kind, payload) + data[-12:]


def set_tiff_entry(data: bytearray, tag: int, count: int) -> None:
    """Overwrites the number of values of a tag in a little-endian TIFF."""
    directory = int.from_bytes(data[4:8], "little")
    for position in range(directory + 2, len(data), 12):
        if data[position : position + 2] == tag.to_bytes(2, "little"):
            data[position + 4 : position + 8] = count.to_bytes(4, "little")
            return
    raise ValueError(f"no tag {tag}")


def with_jpeg_size(data: bytes, width: int, height: int) -> bytes:
    """Overwrites the size in the frame header of a baseline JPEG."""
    start = data.index(b"\xff\xc0") + 5
    return data[:start] + struct.pack(">HH", height, width) + data[start + 4 :]


def with_scans(data: bytes, count: int) -> bytes:
    """Repeats the last scan of a progressive JPEG."""
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * count + data[-2:]


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(kind + struct.pack("<I", len(load)) + load + bytes(len(load) & 1) for kind, load in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def box(kind: bytes, *payload: bytes) -> bytes:
    """One ISO base media box."""
    body = b"".join(payload)
    return struct.pack(">I", len(body) + 8) + kind + body


def heif_header(brand: bytes, *properties: bytes) -> bytes:
    """The boxes of an AVIF or HEIC without pixels, whose item 1 has these properties."""
    numbers = bytes(range(1, len(properties) + 1))
    associations = struct.pack(">IIHB", 0, 1, 1, len(properties)) + numbers
    meta = (
        bytes(4),
        box(b"pitm", struct.pack(">IH", 0, 1)),
        box(b"iprp", box(b"ipco", *properties), box(b"ipma", associations)),
    )
    return box(b"ftyp", brand, bytes(4), b"mif1", brand) + box(b"meta", *meta)


def ispe(width: int, height: int) -> bytes:
    return box(b"ispe", struct.pack(">III", 0, width, height))


UNSUPPORTED: dict[str, bytes] = {
    "JPEG XL": b"\x00\x00\x00\x0cJXL \r\n\x87\n" + bytes(20),
    "JPEG 2000": b"\xff\x4f\xff\x51" + bytes(20),
    "SVG": b'\xef\xbb\xbf \n<?xml version="1.0"?>\n<!-- <a> -->\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "PDF": b"%PDF-1.7\n",
    "PSD": b"8BPS\x00\x01" + bytes(20),
    "DDS": b"DDS |\x00\x00\x00" + bytes(120),
    "PNM": b"P6\n2 2\n255\n" + bytes(12),
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "OpenEXR": b"\x76\x2f\x31\x01" + bytes(20),
    "QOI": b"qoif" + bytes(20),
    "ICO": b"\x00\x00\x01\x00\x01\x00" + bytes(20),
    "TGA": bytes(30) + b"TRUEVISION-XFILE.\x00",
    "Canon CR3": box(b"ftyp", b"crx ", bytes(4), b"isom"),
    "MP4 video": box(b"ftyp", b"isom", bytes(4), b"mp42"),
}
