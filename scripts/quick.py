"""The loop of a contributor: ``python scripts/quick.py [PYTEST ARGUMENTS…]``; `make quick` has the environment for it.

ruff, mypy and the tests that need no trainer, at the same time. The tests show as they go, the others when they have
ended. Without arguments fewer tests than there should be is a failure too. The exit code is 0 when all passed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))
from needs import FEWEST  # noqa: E402

CHECKS = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
}
# The tests start ql hundreds of times: what is compiled once is kept, whatever the shell wishes.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
# Some tests wait for a process or a clock: one more worker than cores.
WORKERS = (os.cpu_count() or 1) + 1
TESTS = ["pytest", "--quick", "--quiet", "--hypothesis-profile=quick", f"--numprocesses={WORKERS}", "--dist=worksteal"]


def main(arguments: list[str]) -> int:
    began = time.monotonic()
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        started: list[tuple[str, subprocess.Popen[bytes], Path]] = []
        for name, words in CHECKS.items():
            output = Path(folder, name)
            with output.open("wb") as stream:
                argv = [sys.executable, "-m", *words]
                started.append((name, subprocess.Popen(argv, cwd=ROOT, stdout=stream, stderr=stream), output))
        try:
            problem = run_tests(arguments)
        finally:
            for _, process, _ in started:
                process.wait()
        for name, process, output in started:
            print(f"\n{name}:\n{output.read_text(encoding='utf-8', errors='replace').rstrip()}")
            if process.returncode:
                failed.append(name)
    if problem:
        failed.append(problem)
    print(f"\n{'FAILED: ' + ', '.join(failed) if failed else 'passed'}, in {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


def run_tests(arguments: list[str]) -> str | None:
    """What was wrong with them, or None."""
    argv = [sys.executable, "-m", *TESTS, *arguments]
    collected = 0
    pipe = subprocess.Popen(argv, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, errors="replace")
    with pipe as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if found := re.match(r"collected (\d+) tests", line):
                collected = int(found[1])
    if process.returncode:
        return "tests"
    if not arguments and collected < FEWEST:
        return f"{collected} tests collected, and there were {FEWEST} (FEWEST in tests/support/needs.py)"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
