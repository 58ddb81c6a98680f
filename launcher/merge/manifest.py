"""What lies beside a merge's weights: the manifest of a merged folder, and the record of a training run.

Nothing here needs torch: the launcher itself checks a folder and looks for a record.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from launcher.errors import BadInput, Problem, Unreadable
from launcher.files import read_bounded, sha256_file
from launcher.records.codec import decode
from launcher.records.merged import Shard, Shards

MANIFEST = "merge.json"
INDEX = "model.safetensors.index.json"
RECORD = "quantization.json"


def check_folder(folder: Path) -> list[Shard]:
    """Compare every shard of a merged folder with the sha256 that its manifest has; returns the shards.

    Raises Unreadable when there is no manifest, BadInput with every shard that is missing or differs.
    """
    if not (folder / MANIFEST).exists():
        problem = Problem(
            f"there is no {MANIFEST} in it", str(folder), hint="--check takes a folder that `ql merge` wrote"
        )
        raise Unreadable(problem)
    shards = decode(Shards, read_object(folder / MANIFEST), file=str(folder / MANIFEST)).shards
    problems = []
    for shard in shards:
        path = folder / shard.file
        if not path.is_file():
            problems.append(Problem("this shard is missing", str(path)))
        elif path.stat().st_size != shard.bytes:
            problems.append(Problem(f"this shard has {path.stat().st_size} bytes, not {shard.bytes}", str(path)))
        elif sha256_file(path) != shard.sha256:
            problems.append(Problem("this shard's sha256 is not the one it was written with", str(path)))
    listed = {shard.file for shard in shards}
    if not problems and set(read_object(folder / INDEX).get("weight_map", {}).values()) != listed:
        problems.append(Problem("the index names other shards than the manifest", str(folder / INDEX)))
    if problems:
        raise BadInput(problems)
    return shards


def find_record(adapter: Path) -> Path | None:
    """The record of what training quantised, where a run leaves it: with the adapter, or in the trainer's folder."""
    candidates = (adapter, adapter.parent, adapter.parent / "trainer")
    return next((folder / RECORD for folder in candidates if (folder / RECORD).is_file()), None)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object. Raises Unreadable when it is missing or is none."""
    try:
        data = json.loads(read_bounded(path))
    except OSError as error:
        raise Unreadable(Problem(f"cannot be read: {error.strerror}", str(path))) from None
    except (ValueError, RecursionError) as error:
        raise Unreadable(Problem(f"not JSON: {error}", str(path))) from None
    if not isinstance(data, dict):
        raise Unreadable(Problem("not a JSON object", str(path)))
    return data
