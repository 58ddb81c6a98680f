"""Small runs of the tiny model that stay in the repository: packed without what no later step reads, and unpacked."""

from __future__ import annotations

import io
import shutil
import sys
import tarfile
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path

from net.places import replace_places

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests" / "net" / "runs"
# name: what of it a resume does not read, as patterns of paths
RUNS: dict[str, tuple[str, ...]] = {
    "finished": ("trainer/*", "*.safetensors"),
    "stopped-training-axolotl": (),
    "stopped-training-unsloth": (),
    "stopped-merging": ("trainer/checkpoint-*",),
}
# Where a kept run says that it was made: on anybody's machine.
HOME = "/home/ada"
LEFT_OUT = {"report.html", "lock", "beat", "unsloth_code", "progress.json", "tracking"}


def pack(run: Path, name: str) -> Path:
    """Write ``run`` to FOLDER/name.tar.xz, the same bytes for the same run."""
    target = FOLDER / f"{name}.tar.xz"
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / name
        shutil.copytree(run, copy, ignore=lambda folder, names: {one for one in names if _is_left_out(one)})
        for path in [path for path in copy.rglob("*") if path.is_file()]:
            if any(fnmatchcase(path.relative_to(copy).as_posix(), pattern) for pattern in RUNS[name]):
                path.unlink()
        python = {sys.executable: f"{HOME}/ql/.venv/bin/python"}
        replace_places(copy, python | {str(ROOT): f"{HOME}/ql", str(run): f"{HOME}/runs/{name}"})
        with tarfile.open(target, "w:xz", preset=9) as archive:
            for path in sorted(path for path in copy.rglob("*") if path.is_file()):
                content = path.read_bytes()
                entry = tarfile.TarInfo(f"{name}/{path.relative_to(copy).as_posix()}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return target


def _is_left_out(name: str) -> bool:
    return name in LEFT_OUT or name.endswith(".log")


def unpack(name: str, folder: Path, root: Path = ROOT) -> Path:
    """The run ``name`` in ``folder``, as if it had been made there by the checkout at ``root``."""
    with tarfile.open(FOLDER / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    run = folder / name
    replace_places(run, {f"{HOME}/ql": str(root), f"{HOME}/runs/{name}": str(run)})
    return run
