"""Runs the service's pipeline on pictures without a server: `python run_locally.py --help`."""

import signal
import sys

from tools.predict.command import main

__all__ = ["main"]

if __name__ == "__main__":
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # exits quietly when `| head` closes the pipe
    sys.exit(main())
