"""Seal a checkpoint: its files on the disk, and a list of them with their sizes and hashes beside them.

A checkpoint without this list was not written to its end; one whose files differ from it is corrupt. The launcher
resumes from neither.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

SEAL = "ql-complete.json"


def seal(folder: Path) -> None:
    """Write ``ql-complete.json`` (version 1) into ``folder``: after the files are synced, and then synced itself."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != SEAL:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
                os.fsync(stream.fileno())
            files[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "sha256": digest}
    temporary = folder / f".{SEAL}.new"
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump({"version": 1, "files": files}, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(folder / SEAL)
    for place in (folder, folder.parent):
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
