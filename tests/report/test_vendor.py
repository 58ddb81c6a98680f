"""The chart library is what its package ships, and its licence goes with it."""

from __future__ import annotations

import re
from pathlib import Path

from launcher.files import sha256_file


def test_the_files_are_as_published(root: Path) -> None:
    folder = root / "templates" / "vendor" / "uplot"
    digests = re.findall(r"^ +([0-9a-f]{64})  (\S+)$", (folder / "README.md").read_text(encoding="utf-8"), re.M)
    assert {name for _, name in digests} == {"uPlot.iife.min.js", "uPlot.min.css", "LICENSE"}
    for digest, name in digests:
        assert sha256_file(folder / name) == digest, name
