"""The record of slow tests: each test keeps its own last result, whatever part was run since."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = """
[tool.pytest.ini_options]
testpaths = ["tests"]
addopts = "--import-mode=importlib"
markers = ["slow: slow"]
"""
FIRST = """
import pytest
pytestmark = pytest.mark.slow
@pytest.mark.parametrize("name", ["a", "b|c"])
def test_one(name): pass
def test_two(): assert False
def test_three(): pytest.skip("no card")
"""
SECOND = """
import pytest
@pytest.fixture
def broken(): raise RuntimeError
@pytest.mark.slow
def test_four(broken): pass
def test_fast(): pass
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(CONFIG)
    (tmp_path / "tests" / "deep").mkdir(parents=True)
    (tmp_path / "tests" / "deep" / "test_first.py").write_text(FIRST)
    (tmp_path / "tests" / "test_second.py").write_text(SECOND)
    return tmp_path


def run(root: Path, project: Path, *arguments: str) -> int:
    argv = [sys.executable, root / "scripts" / "test_slow.py", *arguments]
    return subprocess.run(argv, cwd=project, capture_output=True, check=False).returncode


def results(project: Path) -> dict[str, str]:
    found = {}
    for path in (project / "docs" / "test-slow").glob("*.json"):
        data = json.loads(path.read_text())
        found |= {f"{data['file']}::{test}": row["result"] for test, row in data["tests"].items()}
    return found


def test_parts_merge_into_one_page(root: Path, project: Path) -> None:
    assert run(root, project, "tests/deep", "-k", "one or two") == 1
    assert results(project) == {
        "tests/deep/test_first.py::test_one[a]": "passed",
        "tests/deep/test_first.py::test_one[b|c]": "passed",
        "tests/deep/test_first.py::test_two": "failed",
    }
    page = (project / "docs" / "test-slow.md").read_text()
    assert "5 tests: 2 passed, 1 did not, 2 not run yet" in page
    assert "| test_four | not run yet | | | |" in page
    assert "b\\|c" in page
    assert "test_fast" not in page

    (project / "tests" / "deep" / "test_first.py").write_text(FIRST.replace("assert False", "pass"))
    assert run(root, project, "-k", "not one") == 1
    assert len(results(project)) == 5
    assert results(project)["tests/deep/test_first.py::test_two"] == "passed"
    assert results(project)["tests/deep/test_first.py::test_three"] == "skipped"
    assert results(project)["tests/test_second.py::test_four"] == "failed"

    (project / "tests" / "test_second.py").unlink()
    assert run(root, project, "-k", "two") == 0
    assert "tests/test_second.py::test_four" not in results(project)
    assert "4 tests: 3 passed, 1 did not, 0 not run yet" in (project / "docs" / "test-slow.md").read_text()
