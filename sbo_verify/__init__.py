"""sbo_verify: can a consumer see the signal at its threshold and still read a stale tile?"""

from __future__ import annotations

__version__ = "0.1.0"
