"""Run the slow tests of this checkout and record how each ended: ``python scripts/test_slow.py [PYTEST ARGUMENTS…]``.

Any part can be run alone (a file, ``-k NAME``): the tests that ran get new records, the others keep theirs. Records are
``docs/test-slow/<test file>.json``; ``docs/test-slow.md`` is made from them, and names what was never run.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

RECORDS, PAGE = Path("docs/test-slow"), Path("docs/test-slow.md")
PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "axolotl", "unsloth")
SELECT = ["-m", "slow", "--timeout", "3600"]


class Recorder:
    """A plugin of pytest: the outcome and the seconds of each test, set-up and tear-down included.

    A test that was broken off, as by Ctrl-C, has no outcome.
    """

    def __init__(self) -> None:
        self.found: dict[str, dict[str, Any]] = {}
        self.ended: set[str] = set()  # what came to its call, or failed or was skipped before it

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        record = self.found.setdefault(report.nodeid, {"result": "passed", "seconds": 0.0})
        record["seconds"] = round(record["seconds"] + report.duration, 1)
        if report.outcome != "passed":
            record["result"] = report.outcome
        if report.when == "call" or report.outcome != "passed":
            self.ended.add(report.nodeid)

    @property
    def results(self) -> dict[str, dict[str, Any]]:
        return {name: result for name, result in self.found.items() if name in self.ended}


def commit() -> str:
    """The short hash of the commit under test, with a plus when tracked files differ from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs")
    return (git("rev-parse", "--short=10", "HEAD") or "unknown") + ("+" if changed else "")


def circumstances() -> dict[str, Any]:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": commit(),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": versions,
    }


def slow_tests() -> list[str]:
    """The ids of all slow tests that there are."""
    argv = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "slow", "-p", "no:cacheprovider"]
    listed = subprocess.run(argv, capture_output=True, text=True, check=False)
    if listed.returncode:
        sys.exit(listed.stdout + listed.stderr)
    return [line for line in listed.stdout.splitlines() if "::" in line]


def record(found: dict[str, dict[str, Any]], there: Sequence[str]) -> None:
    """Put the new results into the files of records; records of tests that are gone go."""
    RECORDS.mkdir(parents=True, exist_ok=True)
    now = circumstances()
    known = read_records()
    for name, result in found.items():
        if result["result"] != "skipped" or name not in known:  # what could not run here still ended as it did before
            known[name] = {**result, **now}
    for old in RECORDS.glob("*.json"):
        old.unlink()
    by_file: dict[str, dict[str, Any]] = {}
    for name in there:
        if name in known:
            file, _, test = name.partition("::")
            by_file.setdefault(file, {})[test] = known[name]
    for file, tests in by_file.items():
        text = json.dumps({"file": file, "tests": tests}, indent=1) + "\n"
        (RECORDS / file.removeprefix("tests/").replace("/", "-")).with_suffix(".json").write_text(text, "utf-8")


def read_records() -> dict[str, dict[str, Any]]:
    """Records by test id."""
    records: dict[str, dict[str, Any]] = {}
    for path in sorted(RECORDS.glob("*.json")):
        data = json.loads(path.read_text(encoding="utf-8"))
        records |= {f"{data['file']}::{test}": values for test, values in data["tests"].items()}
    return records


def page(records: dict[str, dict[str, Any]], there: Sequence[str]) -> str:
    """The page: a table for each test file, in the order in which pytest has them."""
    ran = [records[name] for name in there if name in records]
    passed = sum(row["result"] == "passed" for row in ran)
    lines = [
        "# Slow tests: the last result of each",
        "",
        "Made by `make test-slow` from the records in `docs/test-slow/`. A part can be run again alone:",
        '`make test-slow TESTS="tests/acceptance/test_cpu_tiny_seeds.py -k unsloth"`. A plus behind a commit: files',
        "differed from it.",
        "",
        f"{len(there)} tests: {passed} passed, {len(ran) - passed} did not, {len(there) - len(ran)} not run yet; "
        f"{sum(row['seconds'] for row in ran) / 60:.0f} min together.",
    ]
    file = ""
    for name in there:
        if not name.startswith(f"{file}::"):
            file = name.partition("::")[0]
            lines += ["", f"## {file}", "", "| test | result | seconds | date | commit |", "|---|---|---|---|---|"]
        test = name.partition("::")[2].replace("|", "\\|")
        if row := records.get(name):
            lines.append(f"| {test} | {row['result']} | {row['seconds']:.0f} | {row['date']} | {row['commit']} |")
        else:
            lines.append(f"| {test} | not run yet | | | |")
    lines += ["", "## With what", ""]
    lines += [f"- {made}" for made in sorted({_made_with(row) for row in ran})]
    return "\n".join(lines).rstrip() + "\n"


def _made_with(row: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
    return f"{row['date']}, Python {row['python']}, {row['machine']}: {packages or 'no trainer'}"


def main(arguments: list[str]) -> int:
    recorder = Recorder()
    code = int(pytest.main([*SELECT, *arguments], plugins=[recorder]))
    there = slow_tests()
    record(recorder.results, there)
    PAGE.write_text(page(read_records(), there), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
