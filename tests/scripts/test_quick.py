"""`make quick` runs the same tests in every environment, as many as there were, and skips none that cannot import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from needs import FEWEST, HEAVY, is_heavy

# Collects as where nothing heavy is installed.
WITHOUT = f"import sys\nfor name in {sorted(HEAVY)}: sys.modules[name] = None\n"
COLLECT = "import pytest, sys\nsys.exit(pytest.main(['--quick', '--collect-only', '-q', '-p', 'no:cacheprovider']))\n"
SOURCE = """
import json
from typing import TYPE_CHECKING
import pytest
if TYPE_CHECKING:
    import torch
def helper(): import torch.nn
@pytest.fixture
def browser(): pytest.importorskip("playwright.sync_api")
@pytest.fixture
def folder(): return 1
def test_plain(folder): json.dumps(1)
def test_calls(): helper()
def test_opens(browser): pass
def test_imports():
    from transformers import AutoTokenizer
"""


@pytest.mark.heavy  # it compares with an environment that has all: in the quick one it would compare it with itself
def test_the_selection_is_the_same_without_the_trainers(root: Path) -> None:
    argv = [[sys.executable, "-c", code] for code in (WITHOUT + COLLECT, COLLECT)]
    running = [subprocess.Popen(words, cwd=root, stdout=subprocess.PIPE, text=True) for words in argv]
    without, whole = ([line for line in process.communicate()[0].splitlines() if "::" in line] for process in running)
    assert without == whole
    assert len(whole) >= FEWEST, "tests have left `make quick`; if they were meant to, FEWEST is too high"
    assert len(whole) <= FEWEST + 200, "there are many more tests in `make quick`: raise FEWEST, so that it guards them"


@pytest.mark.parametrize(
    ("test", "fixtures", "heavy"),
    [
        ("test_plain", ["folder"], False),
        ("test_calls", [], True),
        ("test_opens", ["browser"], True),
        ("test_imports", [], True),
    ],
)
def test_what_a_test_needs_is_read_off_its_source(tmp_path: Path, test: str, fixtures: list[str], heavy: bool) -> None:
    path = tmp_path / "test_it.py"
    path.write_text(SOURCE)
    assert is_heavy(path, test, [(path, name) for name in fixtures]) is heavy


@pytest.mark.parametrize("file", ["conftest.py", "test_it.py"])
def test_a_file_that_imports_what_is_heavy_needs_it_whole(tmp_path: Path, file: str) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(): pass\n")
    (tmp_path / file).write_text('import pytest\ntorch = pytest.importorskip("torch")\ndef test_it(): pass\n')
    assert is_heavy(tmp_path / "test_it.py", "test_it", [])


def test_a_selected_test_that_cannot_import_fails(root: Path, tmp_path: Path) -> None:
    source = "import pytest\ndef test_it(): pytest.importorskip('no_such_' + 'library')\n"
    (tmp_path / "test_it.py").write_text(source + "def test_skipped(): pytest.skip('x')\n")
    options = ["--quick", "-q", "-p", "no:cacheprovider", "-p", "quick", "--rootdir", str(tmp_path)]
    code = f"import pytest, sys\nsys.path.insert(0, {str(root / 'tests' / 'support')!r})\n"
    code += f"sys.exit(pytest.main({options}))\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "mark it heavy" in done.stdout
    assert "1 failed, 1 skipped" in done.stdout
    assert "collected 2 tests that need no trainer" in done.stdout
