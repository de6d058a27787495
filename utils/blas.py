"""NumPy's matrix products in the thread that asks for them: threads of their own would fight the lanes for cores."""

from threadpoolctl import threadpool_limits


def one_blas_thread() -> None:
    """For the whole process, for good."""
    threadpool_limits(limits=1, user_api="blas")
