"""Anybody's PTX: which hand-offs a kernel makes, and what orders each of them, if anything."""
