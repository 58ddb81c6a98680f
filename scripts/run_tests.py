"""Run the tests in two halves at the same time: ``python scripts/run_tests.py [PYTEST ARGUMENTS…]``.

The acceptance tests wait for trainers, which mostly import; beside them the other core runs all other tests. The
acceptance half shows as it goes, the other when it has ended. The exit code is 0 when both halves passed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

HALVES = {"acceptance tests": "acceptance and not slow", "all other tests": "not acceptance and not slow"}
NOTHING_COLLECTED = 5  # pytest's exit code for a half that the arguments leave empty


def main(arguments: list[str]) -> int:
    began = time.monotonic()
    codes = {}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        processes: dict[str, subprocess.Popen[bytes]] = {}
        try:
            for name, marks in HALVES.items():
                # A cache for each half: both would write the same file.
                cache = ["-o", f"cache_dir=.pytest_cache/{name.split()[0]}"]
                argv = [sys.executable, "-m", "pytest", "-m", marks, *cache, *arguments]
                shown = None if not processes else output
                processes[name] = subprocess.Popen(argv, stdout=shown, stderr=shown)
            for name, process in processes.items():
                codes[name] = process.wait()
        finally:
            for process in processes.values():
                if process.poll() is None:
                    process.terminate()
                    process.wait()
        output.seek(0)
        print(output.read(), flush=True)
    for name, code in codes.items():
        print(f"{name}: {'passed' if code in (0, NOTHING_COLLECTED) else f'FAILED ({code})'}")
    print(f"{time.monotonic() - began:.0f} s")
    if set(codes.values()) == {NOTHING_COLLECTED}:
        return NOTHING_COLLECTED
    return max(code if code != NOTHING_COLLECTED else 0 for code in codes.values())


if __name__ == "__main__":
    assert Path("pyproject.toml").is_file(), "run it in the checkout"
    sys.exit(main(sys.argv[1:]))
