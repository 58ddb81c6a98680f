"""`pytest --quick`: the tests that need ql's core alone, the same ones in every environment; `make quick` runs them."""

from __future__ import annotations

import inspect
from collections.abc import Generator
from pathlib import Path

import pytest
from needs import file_is_heavy, is_heavy

COLLECTED = pytest.StashKey[int]()
MARKS = ("heavy", "acceptance", "slow")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="only tests that need no trainer, no browser, no docs' tools")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A file that imports what is heavy is not even imported; None leaves the answer to others."""
    path = collection_path / "conftest.py" if collection_path.is_dir() else collection_path
    if not config.getoption("--quick") or path.suffix != ".py" or not path.is_file():
        return None
    return file_is_heavy(path) or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--quick"):
        return
    heavy = [item for item in items if any(item.get_closest_marker(mark) for mark in MARKS) or _is_heavy(item)]
    config.hook.pytest_deselected(items=heavy)
    left_out = set(heavy)
    items[:] = [item for item in items if item not in left_out]


def _is_heavy(item: pytest.Item) -> bool:
    if not isinstance(item, pytest.Function):
        return False
    known = item._fixtureinfo.name2fixturedefs.values()
    functions = [inspect.unwrap(fixture.func) for definitions in known for fixture in definitions]
    own = [(Path(inspect.getfile(function)), function.__name__) for function in functions]
    ours = [(path, name) for path, name in own if path.is_relative_to(item.config.rootpath / "tests")]
    return is_heavy(item.path, item.originalname, ours)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that this selection has and that skips itself for a missing package fails: the selection is wrong."""
    report = yield
    if item.config.getoption("--quick") and report.skipped and "could not import" in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"{report.longrepr}: mark it heavy, or let tests/support/needs.py see that it is"
    return report


# --- how many there are; with pytest-xdist only the workers know ---


def pytest_collection_finish(session: pytest.Session) -> None:
    session.config.stash[COLLECTED] = len(session.items)
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["collected"] = len(session.items)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: pytest.Config) -> None:
    node.config.stash[COLLECTED] = getattr(node, "workeroutput", {}).get("collected", 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.getoption("--quick"):
        terminalreporter.write_line(f"collected {config.stash.get(COLLECTED, 0)} tests that need no trainer")
