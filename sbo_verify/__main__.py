"""`python -m sbo_verify` is the command line."""

from __future__ import annotations

import sys

from sbo_verify.cli import main

if __name__ == "__main__":
    sys.exit(main())
