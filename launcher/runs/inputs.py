"""What a run was made from, by hash: a resume on other inputs would be another run under the same name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from launcher.errors import BadInput, Problem
from launcher.files import sha256_file
from launcher.runs.run import Run

WHOLE = 64 * 2**20  # bytes; a file up to this size is hashed whole
SAMPLES = 16  # pieces of a larger one, spread evenly, its first and last bytes among them
PIECE = 2**20  # bytes
# Of a run's own folder: what the trainer reads.
OWN = ("config.yaml", "train.py", "chat_template.jinja", "data/train.jsonl", "data/eval.jsonl", "data/sample.jsonl")


def fingerprint(run: Run) -> dict[str, str]:
    """``{"data": sha256, "golden": …, "config.yaml": …, "base/model.safetensors": …}``; absent files are left out.

    A file of the base that is larger than WHOLE counts by its size and SAMPLES pieces of it (``sampled:…``): 140 GB
    are not read again to find what its header and size show. A file of the hub's cache counts by the hash that the hub
    names it by.
    """
    found = {}
    for name, said in (("data", run.record.data), ("golden", run.record.golden)):
        if said and said.path:
            found[name] = Path(said.path)
    found |= {name: run.path / name for name in (*OWN, *_copies(run))}
    base = run.record.base_folder
    if base:
        for path in sorted(Path(base).iterdir()):
            if path.suffix in (".safetensors", ".json", ".jinja", ".model") and path.is_file():
                found[f"base/{path.name}"] = path
    return {name: digest(path) for name, path in found.items() if path.is_file()}


def digest(path: Path) -> str:
    """The sha256 of a file; of a large one the hub's name for it, or a sample."""
    size = path.stat().st_size
    if size <= WHOLE:
        return sha256_file(path)
    blob = path.resolve()
    if blob.parent.name == "blobs" and len(blob.name) == 64:
        return blob.name  # https://huggingface.co/docs/huggingface_hub/guides/manage-cache: blobs are named by sha256
    hashed = hashlib.sha256(str(size).encode())
    with path.open("rb") as stream:
        for index in range(SAMPLES):
            stream.seek((size - PIECE) * index // (SAMPLES - 1))
            hashed.update(stream.read(PIECE))
    return f"sampled:{hashed.hexdigest()}"


def check_unchanged(run: Run, *, accept: bool) -> list[str]:
    """What has changed since the run began, in words. Raises BadInput with all of it unless it is accepted.

    What is accepted takes the place of what was recorded.
    """
    recorded = run.record.inputs
    now = fingerprint(run)
    words = []
    for name, before in recorded.items():
        after = now.get(name)
        if after is None and name == "data" and run.stage("prepare").state == "done":
            continue  # the run has a copy of its own
        if after != before:
            words.append(
                f"{_title(run, name)}: {'it is gone' if after is None else f'{_short(before)} was, {_short(after)} is'}"
            )
    words += [f"{_title(run, name)}: it is new" for name in now if recorded and name not in recorded]
    if words and not accept:
        raise BadInput(
            [
                Problem("these inputs are not what this run began with:", file=str(run.path)),
                *(Problem(f"  {text}") for text in words),
                Problem("put them back, or go on with them as they are: ql resume RUN --accept-changes"),
            ]
        )
    if words:
        run.record.inputs = now
        _record_accepted(run, now)
    return words


def _record_accepted(run: Run, now: Mapping[str, str]) -> None:
    """The hashes beside the files' names in the manifest, which the report and the card show."""
    if "golden" in now and run.record.golden:
        run.record.golden.sha256 = now["golden"]
    data = run.record.data
    if data is None:
        return
    copies = data.written
    if "data" in now and copies:
        data.input_sha256 = now["data"]
    elif "data" in now:
        data.sha256 = now["data"]
    for name in copies:
        if name in now:
            copies[name] = now[name]


def _copies(run: Run) -> list[str]:
    """The data files of the run's own folder by name: those of an edited config keep the names they had."""
    return list(run.record.data.written) if run.record.data else []


def _title(run: Run, name: str) -> str:
    given = {"data": run.record.data, "golden": run.record.golden}.get(name)
    if given:
        return f"{name} {given.path}"
    if name.startswith("base/") and run.record.base_folder:
        return str(Path(run.record.base_folder, name.removeprefix("base/")))
    return str(run.path / name)


def _short(digest: str) -> str:
    head, _, tail = digest.rpartition(":")
    return f"{head + ' ' if head else ''}sha256 {tail[:12]}"
