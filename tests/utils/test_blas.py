"""Matrix products start no threads."""

import subprocess
import sys

CODE = """
import numpy as np
from threadpoolctl import threadpool_info
from utils.blas import one_blas_thread
one_blas_thread()
print({library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"})
"""


def test_blas_libraries_have_one_thread() -> None:
    run = subprocess.run([sys.executable, "-c", CODE], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "{1}"
