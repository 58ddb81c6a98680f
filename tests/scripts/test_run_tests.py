"""Both halves of the tests run, and either can fail the whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = """
[tool.pytest.ini_options]
testpaths = ["tests"]
markers = ["slow: slow", "acceptance: acceptance"]
"""
TESTS = """
import pytest
def test_fast(): assert {fast}
@pytest.mark.acceptance
def test_whole(): assert {whole}
@pytest.mark.slow
@pytest.mark.acceptance
def test_slow(): assert False
"""

# The small projects of these tests use no plugin, and each takes time to load.
BARE = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def run(root: Path, project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, root / "scripts" / "run_tests.py", *arguments]
    return subprocess.run(argv, cwd=project, env=BARE, capture_output=True, text=True, check=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(CONFIG)
    (tmp_path / "tests").mkdir()
    return tmp_path


@pytest.mark.parametrize(("fast", "whole"), [(False, True), (True, False)])
def test_a_failure_in_either_half_counts(root: Path, project: Path, fast: bool, whole: bool) -> None:
    (project / "tests" / "test_it.py").write_text(TESTS.format(fast=fast, whole=whole))
    done = run(root, project)
    assert done.returncode == 1
    assert done.stdout.count("collected 3 items / 2 deselected / 1 selected") == 2
    assert f"acceptance tests: {'passed' if whole else 'FAILED (1)'}" in done.stdout
    assert f"all other tests: {'passed' if fast else 'FAILED (1)'}" in done.stdout


def test_a_half_may_be_empty(root: Path, project: Path) -> None:
    (project / "tests" / "test_it.py").write_text(TESTS.format(fast=True, whole=True))
    assert run(root, project, "-k", "fast").returncode == 0
