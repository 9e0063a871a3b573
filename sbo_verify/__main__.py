"""`python -m sbo_verify` is the command line."""

from __future__ import annotations

from sbo_verify.cli import program

if __name__ == "__main__":
    program()
