"""Write the result of the slow tests as a page: ``record_slow_tests.py JUNIT.xml PAGE.md``."""

from __future__ import annotations

import os
import platform
import sys
import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime
from pathlib import Path


def main(source: Path, page: Path) -> None:
    suite = ElementTree.parse(source).getroot().find("testsuite")
    assert suite is not None
    lines = [
        "# Slow tests: the last result",
        "",
        "Made by `make test-slow`.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {platform.machine()}, "
        f"{os.cpu_count()} cores: {suite.get('tests')} tests, {suite.get('failures')} failures, "
        f"{suite.get('errors')} errors, {float(suite.get('time', 0)):.0f} s.",
        "",
        "| test | result | seconds |",
        "|---|---|---|",
    ]
    for case in suite.iter("testcase"):
        bad = case.find("failure") is not None or case.find("error") is not None
        result = "failed" if bad else "skipped" if case.find("skipped") is not None else "passed"
        lines.append(f"| {case.get('name')} | {result} | {float(case.get('time', 0)):.0f} |")
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
