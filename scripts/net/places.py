"""Move a run's folder to other places: paths in its text files, and the hashes that are kept of those files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

TEXT = (".json", ".jsonl", ".yaml", ".yml", ".md", ".py", ".jinja", ".txt")
SEAL = "ql-complete.json"


def replace_places(folder: Path, places: Mapping[str, str]) -> None:
    """Replace each path of ``places`` by its new one in every text file under ``folder``, the longest first.

    The seals of checkpoints and run.json name files by size and sha256: what changed is written there too, so that
    nothing else looks touched.
    """
    ordered = sorted(places.items(), key=lambda item: -len(item[0]))
    changed: dict[str, str] = {}  # sha256 before: after
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.suffix not in TEXT or path.name == SEAL:
            continue
        before = path.read_bytes()
        text = before.decode()
        for old, new in ordered:
            text = text.replace(old, new)
        after = text.encode()
        if after != before:
            path.write_bytes(after)
            changed[_sha256(before)] = _sha256(after)
    for path in sorted(folder.rglob(SEAL)):
        _seal_again(path, changed)
    manifest = folder / "run.json"
    text = manifest.read_text(encoding="utf-8")
    for old, new in changed.items():
        text = text.replace(old, new)
    manifest.write_text(text, encoding="utf-8")


def _seal_again(seal: Path, changed: Mapping[str, str]) -> None:
    data = json.loads(seal.read_text(encoding="utf-8"))
    for name, said in data["files"].items():
        if said["sha256"] in changed:
            said.update(bytes=(seal.parent / name).stat().st_size, sha256=changed[said["sha256"]])
    seal.write_text(json.dumps(data, indent=1), encoding="utf-8")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
