"""Prove the named presets on one large GPU, each under a cap that stands for its own card.

    python benchmarks/presets/prove.py --out OUT --seconds 560      (--list: what would run, and about how long)

Writes OUT/results.jsonl as results come, OUT/presets.json (each preset's plan and prediction) and OUT/calibrate.json,
and stops by itself in time. Both trainers must be importable. `table.py` makes the tables from what it wrote.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(ROOT / "benchmarks" / "sizing"), str(ROOT / "benchmarks"), str(ROOT)]

import cases  # noqa: E402

CALIBRATED = "mistral-7b:bf16:8"  # its first eight layers: what is quick to load
CALIBRATE_SECONDS = 150.0
STORE_GIB = 56.0  # checkpoints held at once, ...
SPARE_GIB = 10.0  # ... as long as this much of the disk stays free
WAITING_GIB, WAITING_PROCESSES = 45.0, 4  # of models held on the device, while others use it
DEVICE_GIB = 128.0  # of models and the largest peak, when it is ours


def measure_module() -> Any:
    """benchmarks/sizing/measure.py, told to start this folder's probe."""
    spec = importlib.util.spec_from_file_location("sizing_measure", ROOT / "benchmarks" / "sizing" / "measure.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sizing_measure"] = module  # its pool's processes look the function up by this name
    spec.loader.exec_module(module)
    module.HERE = HERE
    return module


def calibrate(python: str, base: Path, out: Path) -> None:
    """`ql estimate`, `ql calibrate`, `ql estimate` again: what a calibration changes on this machine."""
    environment = {**os.environ, "QL_CALIBRATION": str(out / "calibration.json"), "PYTHONPATH": _python_path()}
    named = ["--gpu", cases.PROVING_CARD, "--model", str(base), "--set", "chat_template=inst"]
    named += ["--set", "micro_batch_size=8", "--set", "gradient_checkpointing=true"]
    found: dict[str, Any] = {
        "shared": "other processes used the card meanwhile: memory is this process's own, speed is not"
    }
    for step, verb in (("before", "estimate"), ("calibration", "calibrate"), ("after", "estimate")):
        began = time.monotonic()
        argv = [python, "-m", "launcher", verb, *named, "--json"]
        try:
            done = subprocess.run(
                argv, capture_output=True, text=True, check=False, env=environment, cwd=ROOT, timeout=CALIBRATE_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            found[step] = {"error": f"not done after {error.timeout:.0f} s"}
            break
        found[step] = {"seconds": round(time.monotonic() - began, 2), "exit_code": done.returncode}
        try:
            found[step]["facts"] = json.loads(done.stdout)
        except ValueError:
            found[step]["said"] = done.stderr.splitlines()[-20:]
        (out / "calibrate.json").write_text(json.dumps(found, indent=1))


def _python_path() -> str:
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def run(options: argparse.Namespace, jobs: list[dict[str, Any]]) -> None:
    module = measure_module()
    wants_calibration = not options.no_calibrate

    class Proving(module.Measure):  # type: ignore[name-defined,misc]
        """Measure, which gives nobody the lock before the device is free, and calibrates beside it."""

        thread: threading.Thread | None = None
        calibrating = wants_calibration

        def free(self) -> bool:
            return options.wait_for is None or options.wait_for.exists()

        def users(self, key: str) -> list[dict[str, Any]]:
            held = [{"key": key}] if self.calibrating and key == CALIBRATED else []
            return held + super().users(key)

        def due(self) -> list[dict[str, Any]]:
            """The waiting jobs whose turn it is: those for later only when no other waits."""
            return [job for job in self.waiting if not job["later"]] or self.waiting

        def write_checkpoints(self, pool: Any) -> None:
            if self.calibrating and CALIBRATED not in self.stored:
                folder = str(self.store / CALIBRATED)
                self.stored[CALIBRATED] = pool.submit(module.make, CALIBRATED, folder, str(self.tokenizer))
            held = sum(module.checkpoint_gib(key) for key in self.stored)
            module.STORE_GIB = min(STORE_GIB, held + shutil.disk_usage(self.store).free / 2**30 - SPARE_GIB)
            waiting, self.waiting = self.waiting, self.due()
            super().write_checkpoints(pool)
            self.waiting = waiting

        def start(self) -> None:
            due = self.due()
            step = max((job["gib"][1] - job["gib"][0] for job in due), default=0.0)
            module.DEVICE_GIB = DEVICE_GIB if self.free() else WAITING_GIB + step
            self.processes = options.processes if self.free() else WAITING_PROCESSES
            made = self.stored.get(CALIBRATED)
            if self.thread is None and made is not None and made.done():
                self.thread = threading.Thread(target=self._calibrate, daemon=True)
                self.thread.start()
            waiting, self.waiting = self.waiting, list(due)
            super().start()
            self.waiting = [job for job in waiting if job["id"] not in self.running]

        def _calibrate(self) -> None:
            self.say("calibrating")
            try:
                calibrate(sys.executable, self.store / CALIBRATED, self.out)
            finally:
                self.calibrating = False
                self.say("calibrated")

        def hold_the_lock(self) -> None:
            """Until the device is free: models load meanwhile, and nothing is measured."""
            with (self.scratch / "lock").open("w") as held:
                fcntl.flock(held, fcntl.LOCK_EX)
                locked.set()
                while not self.free() and time.time() < self.deadline:
                    time.sleep(0.2)
                fcntl.flock(held, fcntl.LOCK_UN)  # closing is not enough: the pool's processes have the file open too
            self.say("the device is free")

    (options.scratch / "cases.json").write_text(json.dumps(jobs))
    options.cases = options.scratch / "cases.json"
    proving, locked = Proving(options), threading.Event()
    threading.Thread(target=proving.hold_the_lock, daemon=True).start()
    locked.wait()
    proving.run()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=560.0)
    parser.add_argument("--scratch", type=Path, default=Path("/tmp/presets"))
    parser.add_argument("--store", type=Path, default=Path("/tmp/presets-store"))
    parser.add_argument("--processes", type=int, default=9)
    parser.add_argument("--wait-for", type=Path, help="measure nothing before this file is there")
    parser.add_argument("--only", default="", help="run only jobs whose id holds this")
    parser.add_argument("--no-calibrate", action="store_true")
    parser.add_argument("--list", action="store_true", help="say what would run, and leave")
    options = parser.parse_args()
    proofs = cases.proofs()
    jobs = cases.jobs()
    first = [job for job in jobs if not job["later"]]
    jobs = first + cases.extra_jobs() + [job for job in jobs if job["later"]]
    jobs = [job for job in jobs if options.only in job["id"]]
    if options.list:
        for job in jobs:
            shapes = [(s["micro_batch_size"], s.get("cap_gib"), len(s["presets"])) for s in job["shapes"]]
            print(f"{job['seconds']:6.1f} s  {job['id']}  {shapes}")
        print(f"{len(jobs)} jobs, about {sum(job['seconds'] for job in jobs):.0f} s of the device")
        return
    for folder in (options.scratch, options.store):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    options.out.mkdir(parents=True, exist_ok=True)
    planned = {
        proof.preset: {
            "gpu": proof.request.gpu.name,
            "job": cases._name(proof.group),
            "shape": proof.shape,
            "plan": proof.plan.to_dict(),
            "usable_gib": proof.request.gpu.usable_gib,
            "cap_gib": round(proof.cap_gib, 4),
            "budget_gib": proof.memory.budget_gib,
            "peak_gib": proof.memory.peak_gib,
            "allocated_gib": proof.memory.allocated_gib,
            "reserved_gib": proof.memory.reserved_gib,
            "evaluation_gib": proof.memory.evaluation_gib,
            "breakdown_gib": proof.memory.breakdown_gib,
            "gain_on_its_card": proof.gain,
        }
        for proof in proofs
    }
    (options.out / "presets.json").write_text(json.dumps(planned, indent=1))
    run(options, jobs)


if __name__ == "__main__":
    main()
