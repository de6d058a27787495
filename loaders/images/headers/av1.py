"""The frame size in an AV1 stream: OBUs and their sequence headers (AV1 Bitstream Specification, 5.5)."""

from loaders.images.errors import CorruptImageError

MAX_OBUS = 256  # a still picture has about four

_SEQUENCE_HEADER = 1


def largest_frame(data: bytes) -> tuple[int, int]:
    """Returns the largest width and height that any sequence header allows; (0, 0) without one."""
    sizes = [_size(data[start:end]) for kind, start, end in _obus(data) if kind == _SEQUENCE_HEADER]
    return max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))


def _obus(data: bytes) -> list[tuple[int, int, int]]:
    """Returns type, start and end of the payload of each unit."""
    found: list[tuple[int, int, int]] = []
    position = 0
    while position < len(data):
        if len(found) == MAX_OBUS:
            raise CorruptImageError(f"This AVIF has more than {MAX_OBUS} units in one stream.")
        head = data[position]
        position += 2 if head & 4 else 1
        size, position = _leb128(data, position) if head & 2 else (len(data) - position, position)
        found.append((head >> 3 & 15, position, position + size))
        position += size
    return found


def _leb128(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for i, byte in enumerate(data[position : position + 8]):
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, position + i + 1
    return len(data), position


class _Bits:
    """Reads bits in order; bits past the end are zeros."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data[:256].ljust(256, b"\0")), 256 * 8

    def take(self, count: int) -> int:
        self._left = max(0, self._left - count)
        return self._value >> self._left & (1 << count) - 1


def _size(header: bytes) -> tuple[int, int]:
    bits = _Bits(header)
    bits.take(4)  # profile, still picture
    if bits.take(1):  # a reduced header, usual for still pictures
        bits.take(5)
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    return bits.take(width_bits) + 1, bits.take(height_bits) + 1


def _skip_operating_points(bits: _Bits) -> None:
    delay_bits = 0
    if bits.take(1):  # timing
        bits.take(64)
        if bits.take(1):
            _skip_uvlc(bits)
        if bits.take(1):  # decoder model
            delay_bits = bits.take(5) + 1
            bits.take(42)
    shows_delay = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if delay_bits and bits.take(1):
            bits.take(2 * delay_bits + 1)
        if shows_delay and bits.take(1):
            bits.take(4)


def _skip_uvlc(bits: _Bits) -> None:
    zeros = 0
    while zeros < 32 and not bits.take(1):
        zeros += 1
    if zeros < 32:
        bits.take(zeros)
