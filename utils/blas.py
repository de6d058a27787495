"""Limits BLAS to the calling thread: its own threads would compete with worker threads for cores."""

from threadpoolctl import threadpool_limits


def one_blas_thread() -> None:
    """Applies to the whole process, permanently."""
    threadpool_limits(limits=1, user_api="blas")
