"""Seal a checkpoint: its files on the disk, and a list of them with their sizes and hashes beside them.

A checkpoint without this list was not written to its end; one whose files differ from it is corrupt. The launcher
resumes from neither.

A trainer may write the adapter of a checkpoint in 16 bit, whatever it is trained in: a resume would go on from rounded
weights. Where that is so, the weights as they are lie beside it, and are put back.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

SEAL = "ql-complete.json"
STORED = "adapter_model.safetensors"
EXACT = "ql-weights.safetensors"


def keep_exact(model: Any, folder: Path) -> None:
    """Write the trained weights as they are into ``folder``, where its adapter has fewer bits than they have."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    trained = {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}
    path = folder / STORED
    if not path.is_file() or all(weight.dtype != torch.float32 for weight in trained.values()):
        return
    with safe_open(path, framework="pt") as stored:
        dtypes = {stored.get_slice(name).get_dtype() for name in stored.keys()}  # noqa: SIM118
    if dtypes != {"F32"}:
        save_file({name: weight.cpu().contiguous() for name, weight in trained.items()}, folder / EXACT)


def restore_exact(model: Any, folder: Path) -> None:
    """Put back what `keep_exact` wrote, where it wrote something."""
    import torch
    from safetensors.torch import load_file

    if not (folder / EXACT).is_file():
        return
    kept = load_file(folder / EXACT)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name in kept:
                weight.copy_(kept[name])


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
