"""``python -m transflow`` is the command line."""

import os
import signal
import sys

if ours := __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # while the command line is imported
from transflow.cli import main

if ours:
    signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main())
