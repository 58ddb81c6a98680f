"""What is said of installing ql: from a checkout, since PyPI has another project of that name."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAID = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "launcher").rglob("*.py"))]


@pytest.mark.parametrize("path", SAID, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nobody_is_sent_to_another_project(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not [words for words in ("pip install ql", "pip install 'ql", 'pip install "ql') if words in text]
