"""BMP headers, from OS/2 1.x on."""

import struct

from loaders.images.headers.header import Header

HEADER_SIZES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})  # bytes; each belongs to one version of the format
_CORE = 12


def read(data: bytes) -> Header:
    (header_size,) = struct.unpack_from("<I", data, 14)
    if header_size == _CORE:
        width, height, _, bit_depth = struct.unpack_from("<HHHH", data, 18)
    else:
        width, height, _, bit_depth = struct.unpack_from("<IiHH", data, 18)  # a negative height: top row first
    return Header("BMP", width, abs(height), bit_depth=bit_depth)
