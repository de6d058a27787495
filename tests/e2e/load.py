"""Clients that send a request as soon as they have the answer to the last one."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping

import httpx

from tests import plain_http
from tests.e2e.services import RED, WAIT_S

Judge = Callable[[httpx.Response], str]


def top_label(response: httpx.Response) -> str:
    """The best label, or the status of an error."""
    return str(response.json()["predictions"][0]["label"]) if response.is_success else str(response.status_code)


class Load:
    """Runs from the start of the block to its end. `answers` counts what `judge` returns, and lost connections."""

    def __init__(
        self,
        base_url: str,
        clients: int,
        picture: bytes = RED,
        judge: Judge = top_label,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.answers: Counter[str] = Counter()
        self._base_url, self._picture, self._judge, self._headers = base_url, picture, judge, headers
        self._stopping, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        with plain_http.Client(base_url=self._base_url, headers=self._headers, timeout=WAIT_S) as client:
            while not self._stopping.is_set():
                try:
                    answer = self._judge(client.post("/infer", content=self._picture))
                except httpx.TransportError as error:
                    answer = type(error).__name__
                with self._lock:
                    self.answers[answer] += 1
