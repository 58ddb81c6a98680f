"""Break the trainer in each way that the launcher knows, with the real trainers on a CPU, and see what becomes of it.

    python benchmarks/survive/faults.py --backend axolotl --work DIR [--budget 300]

With --budget nothing new is begun after so many seconds, and a later call goes on: results/faults-BACKEND.json.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.survive.pipeline import ROOT, events, launch_arguments, left_behind, manifest, ql, write_inputs
from benchmarks.survive.resumable import go_on, read_options, read_results

PLUGIN = ROOT / "tests" / "acceptance" / "faults"
LIMIT = 900.0  # seconds for one run

# name, the fault, more arguments of `ql launch`, how it is to end ("mended", or "stopped" with its kind), and the kind
FAULTS: tuple[tuple[str, dict[str, Any], tuple[str, ...], str, str], ...] = (
    ("out of memory in training", {"kind": "oom_train", "step": 8, "above": 1}, (), "mended", "oom_train"),
    ("out of memory in the first step", {"kind": "oom_train", "step": 1, "above": 1}, (), "mended", "oom_train"),
    ("out of memory in an evaluation", {"kind": "oom_eval", "step": 1, "above": 1}, (), "mended", "oom_eval"),
    ("a loss that is not a number", {"kind": "nan", "step": 8, "above": 1.5e-3}, (), "mended", "nonfinite_loss"),
    ("killed from outside", {"kind": "kill", "step": 8}, (), "mended", "exit"),
    ("exits without a word", {"kind": "exit", "step": 8}, (), "mended", "exit"),
    ("hangs", {"kind": "hang", "step": 8}, ("--stall-after", "20"), "mended", "stall"),
    ("ten skipped steps in a row", {"kind": "skip", "step": 3, "above": 1.5e-3}, (), "mended", "fp16_overflow"),
    (
        "ten skipped steps in a row at any learning rate",
        {"kind": "skip", "step": 3, "above": 0},
        (),
        "stopped",
        "fp16_overflow",
    ),
    ("out of memory at micro-batch 1", {"kind": "oom_train", "step": 4, "above": 0}, (), "stopped", "oom_train"),
    ("a loss of exactly 0", {"kind": "zero_loss", "step": 4}, (), "stopped", "zero_loss"),
    ("gradients of exactly 0", {"kind": "zero_gradients", "step": 4}, (), "stopped", "zero_gradients"),
    ("all labels masked", {"kind": "masked", "step": 4}, (), "stopped", "labels_masked"),
    ("a loss that diverges", {"kind": "diverge", "step": 6}, (), "stopped", "divergence"),
)


def one(backend: str, work: Path, fault: tuple[str, dict[str, Any], tuple[str, ...], str, str]) -> dict[str, Any]:
    name, injected, more, wanted, kind = fault
    data, _ = write_inputs(work / "inputs")
    run, log = work / "run", work / "run.log"
    shutil.rmtree(run, ignore_errors=True)
    log.unlink(missing_ok=True)
    begin = time.monotonic()
    arguments = [*launch_arguments(backend, data, None, run, eval_batch_size=2), "--no-merge", *more]
    variables = {"QL_TEST_FAULT": json.dumps(injected), "PYTHONPATH": str(PLUGIN)}
    process = ql(*arguments, log=log, **variables)
    try:
        code = process.wait(LIMIT)
    finally:
        process.kill()
    facts = manifest(run)
    repairs = facts.get("repairs", [])
    train: dict[str, Any] = next((stage for stage in facts["stages"] if stage["name"] == "train"), {})
    rows = {
        "planned": facts["plan"]["micro_batch_size"] * facts["plan"]["gradient_accumulation_steps"],
        "at the end": (facts["plan"] | facts["changes"])["micro_batch_size"]
        * (facts["plan"] | facts["changes"])["gradient_accumulation_steps"],
    }
    seen = [event.get("kind") for event in events(run) if event["event"] == "fault"]
    if wanted == "mended":
        right = facts["state"] == "finished" and kind in {repair["kind"] for repair in repairs}
    else:
        right = facts["state"] == "failed" and code == 3 and (kind in seen or kind == "oom_train")
    return {
        "name": name,
        "injected": injected,
        "wanted": wanted,
        "as_wanted": right,
        "state": facts["state"],
        "exit_code": code,
        "steps": (facts.get("training") or {}).get("steps"),
        "repairs": [{key: repair[key] for key in ("kind", "cause", "action", "step")} for repair in repairs],
        "error": str(train["error"]).replace(str(work), "DIR") if train.get("error") else None,
        "rows_per_step": rows,
        "processes_left": left_behind(run, {}),
        "seconds": round(time.monotonic() - begin, 1),
    }


def main() -> None:
    options = read_options(__doc__, "faults to inject")
    path, results = read_results("faults", options.backend)
    go_on(
        path,
        results,
        "faults",
        {fault[0]: fault for fault in FAULTS},
        lambda fault: one(options.backend, options.work, fault),
        only=options.only,
        budget=options.budget,
        shown=("name", "as_wanted", "state", "seconds"),
    )


if __name__ == "__main__":
    main()
