"""`ql estimate`, `ql calibrate`, `ql estimate` again: what a calibration changes on this machine; written as JSON.

    python benchmarks/presets/calibrate.py --out calibrate.json

On the first eight layers of a 7B with random weights, which are quick to load. About 100 seconds on an H200, which
should do nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT)]

MODEL, LAYERS = "mistral-7b", 8


def calibrate(base: Path, options: argparse.Namespace) -> dict[str, Any]:
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "QL_CALIBRATION": str(base.parent / "calibration.json"), "PYTHONPATH": paths}
    named = ["--gpu", options.gpu, "--model", str(base), "--set", "chat_template=inst"]
    named += [
        "--set",
        f"micro_batch_size={options.rows}",
        "--set",
        f"gradient_checkpointing={not options.keep}".lower(),
    ]
    found: dict[str, Any] = {"alone": True}
    for step, verb in (("before", "estimate"), ("calibration", "calibrate"), ("after", "estimate")):
        began = time.monotonic()
        argv = [sys.executable, "-m", "launcher", verb, *named, "--json"]
        try:
            done = subprocess.run(
                argv, capture_output=True, text=True, check=False, env=environment, cwd=ROOT, timeout=options.limit
            )
        except subprocess.TimeoutExpired as error:
            found[step] = {"error": f"not done after {error.timeout:.0f} s"}
            break
        found[step] = {"seconds": round(time.monotonic() - began, 2), "exit_code": done.returncode}
        try:
            found[step]["facts"] = json.loads(done.stdout)
        except ValueError:
            found[step]["said"] = done.stderr.splitlines()[-20:]
    return found


def main() -> None:
    from random_checkpoint import write_checkpoint

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", default="h200", help="card of the catalog that this machine has")
    parser.add_argument("--rows", type=int, default=8, help="of a micro-batch")
    parser.add_argument("--keep", action="store_true", help="without recomputing activations")
    parser.add_argument("--limit", type=float, default=150.0, help="seconds for each command")
    parser.add_argument("--base", type=Path, help="a base that is there already, instead of a random one")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch) / "base"  # the calibration is written beside it
        if options.base:
            base.symlink_to(options.base.resolve())
        else:
            base.mkdir()
            write_checkpoint(MODEL, base, layers=LAYERS)
        found = calibrate(base, options)
    text = json.dumps(found, indent=1).replace(scratch, "SCRATCH").replace(str(ROOT), "ROOT")
    options.out.write_text(text + "\n", encoding="utf-8")
    print({step: facts.get("exit_code") for step, facts in found.items() if isinstance(facts, dict)})


if __name__ == "__main__":
    main()
