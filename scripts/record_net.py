"""Record what the program says and writes: ``python scripts/record_net.py [PART…]``, all parts without one.

tests/net/README.md says what it is for. The parts ``merged`` and ``resumed`` need torch.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from net.parts import PARTS, make
from net.store import write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parts = parser.parse_args().parts or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    for part in parts:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            cases = make(part, Path(folder))
        path = write(part, cases)
        size = path.stat().st_size
        print(f"{part}: {len(cases)} cases, {time.monotonic() - began:.0f} s, {size:,} bytes in {path}", flush=True)


if __name__ == "__main__":
    main()
