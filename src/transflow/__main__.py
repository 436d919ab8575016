"""``python -m transflow`` is the command line."""

import sys

from transflow.cli import main

sys.exit(main())
