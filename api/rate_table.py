"""When the last requests of each client came, in a file of fixed size that all workers of a service share.

For each client a ring of moments: a request is too many when the oldest of the last `amount` is younger than the
period. So the limit is exact in any moving window, whichever worker counts. A client is a keyed hash; eight clients
share a set, and a ninth takes the place of the one not heard of for the longest time.
"""

import logging
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from math import inf
from pathlib import Path

from utils.nameless_memory import nameless_memory

_BYTES = 16 * 2**20
_WAYS = 8
# Beyond as many moments a client, each stands for several requests: the limit is kept to a thousandth.
_MOST_MOMENTS = 1024
_SECRET_BYTES = 16
# A worker that is halted in the middle of counting must not halt the others.
_LOCK_PATIENCE_S = 0.1

_CLIENT = struct.Struct("<QdII")  # hash, last moment (s), next place in the ring, requests in the place before it
_SET = struct.Struct("<" + "QdII" * _WAYS)
_MOMENT = struct.Struct("<d")

_log = logging.getLogger("fovea")


class RateTable:
    """At most `amount` hits of a client in `period_s`; in `file`, or for this process alone. One thread calls it."""

    def __init__(self, amount: int, period_s: float, file: Path | None = None) -> None:
        self._period_s = period_s
        self._hits_a_moment = -(-amount // _MOST_MOMENTS)
        self._moments = -(-amount // self._hits_a_moment)
        self._client_bytes = _CLIENT.size + self._moments * _MOMENT.size
        self._sets = max(1, _BYTES // (self._client_bytes * _WAYS))
        self._shared = file is not None
        self._file = (
            os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) if file else nameless_memory("rate-limit")
        )
        self._secret = self._agreed_secret()
        self._warned = False

    def hit(self, client: str, now: float | None = None) -> float:
        """Counts one; the seconds to wait where it is too many, else 0."""
        digest = int.from_bytes(blake2b(client.encode("utf-8", "replace"), digest_size=8, key=self._secret).digest())
        try:
            with self._locked(digest % self._sets):
                return self._count(digest or 1, digest % self._sets, time.monotonic() if now is None else now)
        except OSError as error:  # no space: the service goes on without its limit
            if not self._warned:
                _log.warning("requests cannot be counted: %s", error.strerror)
                self._warned = True
            return 0.0

    def close(self) -> None:
        os.close(self._file)

    def _count(self, digest: int, of_set: int, now: float) -> float:
        start = _SECRET_BYTES + of_set * _SET.size
        clients = _SET.unpack(os.pread(self._file, _SET.size, start).ljust(_SET.size, b"\0"))
        hashes = clients[0::4]
        if digest in hashes:
            way = hashes.index(digest)
            place, hits = clients[way * 4 + 2 : way * 4 + 4]
        else:
            way = min(range(_WAYS), key=clients[1::4].__getitem__)
            place = hits = 0
            if hashes[way]:
                self._forget(of_set, way)
        if 0 < hits < self._hits_a_moment:
            place, hits = (place - 1) % self._moments, hits + 1
        else:
            wait_s = self._oldest(of_set, way, place) + self._period_s - now
            if wait_s > 0:
                return wait_s
            hits = 1
        os.pwrite(self._file, _MOMENT.pack(now), self._ring(of_set, way) + place * _MOMENT.size)
        row = _CLIENT.pack(digest, now, (place + 1) % self._moments, hits)
        os.pwrite(self._file, row, start + way * _CLIENT.size)
        return 0.0

    def _ring(self, of_set: int, way: int) -> int:
        """Rings follow the sets' rows."""
        ring = (of_set * _WAYS + way) * self._moments * _MOMENT.size
        return _SECRET_BYTES + self._sets * _SET.size + ring

    def _oldest(self, of_set: int, way: int, place: int) -> float:
        """-inf where nothing was written yet."""
        data = os.pread(self._file, _MOMENT.size, self._ring(of_set, way) + place * _MOMENT.size)
        moment: float = _MOMENT.unpack(data)[0] if len(data) == _MOMENT.size else 0.0
        return moment or -inf

    def _forget(self, of_set: int, way: int) -> None:
        os.pwrite(self._file, bytes(self._moments * _MOMENT.size), self._ring(of_set, way))

    def _agreed_secret(self) -> bytes:
        """Nobody outside can tell who shares a set with whom."""
        with self._locked(-1):
            secret = os.pread(self._file, _SECRET_BYTES, 0)
            if len(secret) < _SECRET_BYTES or not any(secret):
                secret = os.urandom(_SECRET_BYTES)
                os.pwrite(self._file, secret, 0)
            return secret

    @contextmanager
    def _locked(self, of_set: int) -> Iterator[None]:
        """One set, against the other workers; the event loop never waits long for it."""
        if not self._shared:
            yield
            return
        import fcntl  # several workers are for systems that have it

        place = _SECRET_BYTES + of_set * _SET.size if of_set >= 0 else 0
        patience = time.monotonic() + _LOCK_PATIENCE_S
        while True:
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
                break
            except BlockingIOError:
                if time.monotonic() > patience:
                    break
                time.sleep(0)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)
