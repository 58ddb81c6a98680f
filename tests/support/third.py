"""ql with a third trainer: the whole package, and tests/support/plain_trainer laid over it. Nothing else is edited."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ROOM = Path(__file__).resolve().parent / "plain_trainer"
PACKAGE = ("launcher", "templates", "schemas", "presets")


@dataclass(frozen=True)
class Third:
    """A copy of ql in ``root`` that knows the trainer "plain"."""

    root: Path

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """`ql ARGV`, in a session of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "launcher", *argv],
            cwd=self.root.parent,
            env={**os.environ, "PYTHONPATH": str(self.root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def ql(self, *argv: str, code: int = 0) -> str:
        """What `ql ARGV` prints; it must exit with ``code``."""
        process = self.start(*argv)
        output, errors = process.communicate()
        assert process.returncode == code, output + errors
        return output

    def json(self, *argv: str, code: int = 0) -> Any:
        return json.loads(self.ql(*argv, "--json", code=code))


def with_plain(folder: Path) -> Third:
    """ql as it is, copied into ``folder``, with one folder, one template (and its script) and one schema more."""
    root = folder / "ql"
    ignore = shutil.ignore_patterns("__pycache__")
    for name in PACKAGE:
        shutil.copytree(ROOT / name, root / name, ignore=ignore)
    before = {path for path in root.rglob("*") if path.is_file()}
    shutil.copytree(ROOM, root, dirs_exist_ok=True, ignore=ignore)
    added = {path.relative_to(root).parts[:-1] for path in root.rglob("*") if path.is_file() and path not in before}
    room = ("launcher", "trainers", "plain")
    assert added == {room, (*room, "inject"), ("templates", "plain"), ("schemas",)}
    return Third(root)
