"""Pictures of one colour: what the tiny model answers about them is known."""

import io

from PIL import Image


def colour_picture(colour: str, size: tuple[int, int] = (32, 24), image_format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, image_format)
    return buffer.getvalue()
