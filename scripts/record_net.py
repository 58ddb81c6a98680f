"""Record what the program says and writes: ``python scripts/record_net.py [PART…]``, the light parts without one.

tests/net/README.md says what it is for. The parts ``resumed`` and ``merged`` need torch and the trainers.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from net.parts import HEAVY, LIGHT, make
from net.store import FOLDER, read, write
from net.work import ROOT

MERGED = "tests/net/test_net_merged.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join((*LIGHT, *HEAVY)))
    parts = parser.parse_args().parts or list(LIGHT)
    if unknown := set(parts) - {*LIGHT, *HEAVY}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; known: {', '.join((*LIGHT, *HEAVY))}")
    for part in parts:
        began = time.monotonic()
        count = record(part)
        path = FOLDER / f"{part}.json.xz"
        seconds, size = time.monotonic() - began, path.stat().st_size
        print(f"{part}: {count} cases, {seconds:.0f} s, {size:,} bytes in {path}", flush=True)


def record(part: str) -> int:
    """Write the part; how many cases it has."""
    if part == "merged":  # its bases and adapters are fixtures of the tests
        environment = {**os.environ, "QL_RECORD_NET": "1"}
        subprocess.run([sys.executable, "-m", "pytest", "-q", MERGED], cwd=ROOT, env=environment, check=True)
        return len(read(part))
    with tempfile.TemporaryDirectory() as folder:
        cases = make(part, Path(folder))
    write(part, cases)
    return len(cases)


if __name__ == "__main__":
    main()
