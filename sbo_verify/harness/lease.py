"""Which GPU a process uses: a lease on a slot of one of the caller's visible devices.

A crashed xdist worker is replaced under a new number, so a worker's number says nothing about its
GPU. A lease is an flock on a file per GPU and slot: it ends with the process, however it ends, and
the next process takes the emptiest GPU. Two gates on one machine see each other's leases.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

MAX_SLOTS = 256


class LeaseError(RuntimeError):
    """No slot could be leased; the message says where it was tried."""


@dataclass
class Lease:
    """A held slot. Keep it alive as long as the GPU is used."""

    gpu: int
    slot: int
    file: FileIO

    def release(self) -> None:
        """Give the slot back before the process ends."""
        self.file.close()


def lease_folder() -> Path:
    """One folder a user, shared by all processes of the machine."""
    return Path(tempfile.gettempdir()) / f"sbo_verify-leases-{os.getuid()}"


def take_lease(uuids: list[str], folder: Path | None = None) -> Lease:
    """Lease the lowest free slot over all GPUs. `uuids[i]` names visible device i.

    Raises `LeaseError` when there is no GPU, every slot is taken, or the folder of leases cannot be
    used.
    """
    folder = folder or lease_folder()
    try:
        return _lowest_free(uuids, folder)
    except OSError as error:
        message = (
            f"cannot lease a GPU in {folder}: {error.strerror}; set $TMPDIR to a folder that this "
            "user can write"
        )
        raise LeaseError(message) from error


def _lowest_free(uuids: list[str], folder: Path) -> Lease:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for slot in range(MAX_SLOTS):
        for gpu, uuid in enumerate(uuids):
            file = FileIO(folder / f"{uuid}-{slot}.lock", "a")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                continue
            return Lease(gpu, slot, file)
    message = f"no free slot on {len(uuids)} GPU(s); leases are kept in {folder}"
    raise LeaseError(message)
