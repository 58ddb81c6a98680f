"""The record of slow tests: each test keeps its own last result, whatever part was run since."""

from __future__ import annotations

import json
import os
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

# Without the other plugins of the environment: each takes time to load.
BARE = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "pytest_timeout"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(CONFIG)
    (tmp_path / "tests" / "deep").mkdir(parents=True)
    (tmp_path / "tests" / "deep" / "test_first.py").write_text(FIRST)
    (tmp_path / "tests" / "test_second.py").write_text(SECOND)
    return tmp_path


def run(root: Path, project: Path, *arguments: str) -> int:
    argv = [sys.executable, root / "scripts" / "test_slow.py", *arguments]
    return subprocess.run(argv, cwd=project, env=BARE, capture_output=True, check=False).returncode


def results(project: Path) -> dict[str, str]:
    found = {}
    for path in (project / "docs" / "test-slow").glob("*.json"):
        data = json.loads(path.read_text())
        found |= {f"{data['file']}::{test}": row["result"] for test, row in data["tests"].items()}
    return found


def test_parts_merge_into_one_page(root: Path, project: Path) -> None:
    first = "tests/deep/test_first.py::test_"
    assert run(root, project, "-k", "one or two or four") == 1
    assert results(project) == {
        f"{first}one[a]": "passed",
        f"{first}one[b|c]": "passed",
        f"{first}two": "failed",
        "tests/test_second.py::test_four": "failed",
    }
    page = (project / "docs" / "test-slow.md").read_text()
    assert "5 tests: 2 passed, 2 did not, 1 not run yet" in page
    assert "| test_three | not run yet | | | |" in page
    assert "b\\|c" in page
    assert "test_fast" not in page

    (project / "tests" / "deep" / "test_first.py").write_text(FIRST.replace("assert False", "pass"))
    (project / "tests" / "test_second.py").unlink()
    assert run(root, project, "tests/deep", "-k", "two or three") == 0
    assert results(project) == {
        f"{first}one[a]": "passed",
        f"{first}one[b|c]": "passed",
        f"{first}two": "passed",
        f"{first}three": "skipped",
    }
    assert "4 tests: 3 passed, 1 did not, 0 not run yet" in (project / "docs" / "test-slow.md").read_text()


def test_what_is_skipped_keeps_its_last_result(root: Path, project: Path) -> None:
    first = project / "tests" / "deep" / "test_first.py"
    assert run(root, project, "tests/deep", "-k", "two") == 1
    first.write_text(FIRST.replace("assert False", 'pytest.skip("not installed here")'))
    assert run(root, project, "tests/deep", "-k", "two") == 0
    assert list(results(project).values()) == ["failed"]


def test_a_test_that_is_broken_off_has_no_result(root: Path, project: Path) -> None:
    broken = FIRST.replace("def test_two(): assert False", "def test_two(): raise KeyboardInterrupt")
    (project / "tests" / "deep" / "test_first.py").write_text(broken)
    assert run(root, project, "tests/deep") == 2
    assert {name.partition("::")[2]: result for name, result in results(project).items()} == {
        "test_one[a]": "passed",
        "test_one[b|c]": "passed",
    }
