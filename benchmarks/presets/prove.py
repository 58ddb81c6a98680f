"""Prove the named presets on one large GPU, each under a cap that stands for its own card.

    python benchmarks/presets/prove.py --out OUT --seconds 560      (--list: what would run, and about how long)

Writes OUT/results.jsonl as results come and OUT/presets.json (plans and predictions), and stops by itself in
time. What earlier records (--done) and the committed ones of the blind test hold is left out. Both trainers must be
importable. benchmarks/on_gpu.py runs it beside the other measurements, and `table.py` makes the tables.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.presets import jobs as preset_jobs  # noqa: E402
from benchmarks.presets import others  # noqa: E402
from benchmarks.sizing import blind as blind_test  # noqa: E402

COMMITTED = HERE / "results" / "results.jsonl"
STORE_GIB = 56.0  # checkpoints held on the disk at once, ...
SPARE_GIB = 10.0  # ... as long as this much of it stays free
LARGE_GIB, SPARE_MEMORY_GIB = 30.0, 4.0  # a checkpoint that memory is used for; what is left free there
DEVICE_GIB, SPARE_DEVICE_GIB = 128.0, 8.0  # of models and the largest peak; of a smaller card less what it has


def measure_module() -> Any:
    """benchmarks/sizing/measure.py, told to start this folder's probe."""
    spec = importlib.util.spec_from_file_location("sizing_measure", ROOT / "benchmarks" / "sizing" / "measure.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sizing_measure"] = module  # its pool's processes look the function up by this name
    spec.loader.exec_module(module)
    vars(module).update(HERE=HERE, DEVICE_GIB=min(DEVICE_GIB, card_gib() - SPARE_DEVICE_GIB))
    return module


def card_gib() -> float:
    """Memory of the card that is here; infinite where nvidia-smi says none."""
    argv = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        return int(said.split()[0]) / 1024
    except (OSError, subprocess.CalledProcessError, ValueError, IndexError):
        return float("inf")


def free_gib(folder: Path) -> float:
    return shutil.disk_usage(folder).free / 2**30


def planned() -> dict[str, Any]:
    """presets.json: each preset's plan, its prediction and its cap."""
    return {
        proof.preset: {
            "gpu": proof.request.gpu.name,
            "job": preset_jobs._name(proof.group),
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
        for proof in preset_jobs.proofs()
    }


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def measured_before(paths: list[Path]) -> list[dict[str, Any]]:
    """The records of earlier results.jsonl files, and the blind test's, which are committed elsewhere."""
    return [record for path in paths if path.is_file() for record in read(path)] + list(blind_test.read().values())


def plan_jobs(records: list[dict[str, Any]], *, blind: bool = True) -> list[dict[str, Any]]:
    """What is still to be measured, in the order of its worth: presets, the extra jobs, the blind test."""
    beside = preset_jobs.extra_jobs()
    if blind:
        for job in blind_test.jobs():
            first = "solved" in job["id"] or (job["model"] in blind_test.MODELS[:2] and job["method"] == "qlora")
            beside.append({**job, "rank": 0.5 if first else 1.5})
    found = preset_jobs.jobs(records) + preset_jobs.remaining(beside, records)
    return sorted(found, key=lambda job: float(job["rank"]))  # stable: models stay together


def run(options: argparse.Namespace, jobs: list[dict[str, Any]]) -> None:
    module = measure_module()

    class Proving(module.Measure):  # type: ignore[name-defined,misc]
        """Measure, with checkpoints on the disk and, the largest, in memory, as there is room."""

        def __init__(self, options: argparse.Namespace) -> None:
            super().__init__(options)
            self.places: dict[str, Path] = {}
            self.room = {self.store: min(STORE_GIB, free_gib(self.store) - SPARE_GIB)}
            if options.memory_store is not None:
                self.room[options.memory_store] = free_gib(options.memory_store) - SPARE_MEMORY_GIB
            self.say(f"room for checkpoints, GiB: { {str(place): round(room) for place, room in self.room.items()} }")

        def place(self, key: str) -> Path:
            usual: Path = super().place(key)
            return self.places.get(key, usual)

        def write_checkpoints(self, pool: Any) -> None:
            self.delete_checkpoints()
            for job in self.waiting:
                key, size = job["key"], module.checkpoint_gib(job["key"])
                if key in self.stored:
                    continue
                where = next((each for each in self.ordered(size) if size <= self.left(each)), None)
                if where is None:
                    continue
                self.places[key] = where / key
                self.stored[key] = pool.submit(module.make, key, str(self.places[key]), str(self.tokenizer))

        def ordered(self, size: float) -> list[Path]:
            """Where a checkpoint of ``size`` GiB may be: the disk, and before it memory where it is a large one."""
            return [place for place in reversed(self.room) if place == self.store or size > LARGE_GIB]

        def left(self, where: Path) -> float:
            there = [key for key in self.stored if self.place(key).parent == where]
            return float(self.room[where] - sum(module.checkpoint_gib(key) for key in there))

        def reap(self) -> None:
            died = any(process.poll() not in (None, 0) for process, _ in self.running.values())
            super().reap()
            if died:  # perhaps while the others were stopped for it
                others.wake(self.scratch)

    (options.scratch / "cases.json").write_text(json.dumps(jobs))
    options.cases = options.scratch / "cases.json"
    try:
        Proving(options).run()
    finally:
        for folder in filter(None, (options.store, options.memory_store)):
            shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=560.0)
    parser.add_argument("--scratch", type=Path, default=Path("/tmp/presets"))
    parser.add_argument("--store", type=Path, default=Path("/tmp/presets-store"))
    parser.add_argument("--memory-store", type=Path, help="folder in memory, for checkpoints of more than 30 GiB")
    parser.add_argument("--processes", type=int, default=9)
    parser.add_argument("--only", default="", help="run only jobs whose id holds this")
    parser.add_argument("--done", type=Path, nargs="*", default=[COMMITTED], help="results.jsonl files to go on from")
    parser.add_argument("--no-blind", action="store_true", help="without the blind test of benchmarks/sizing")
    parser.add_argument("--list", action="store_true", help="say what would run, and leave")
    options = parser.parse_args()
    jobs = [
        job for job in plan_jobs(measured_before(options.done), blind=not options.no_blind) if options.only in job["id"]
    ]
    if options.list:
        for job in jobs:
            shapes = [
                f"{s['micro_batch_size']}x{s['sequence_len']} {s.get('rows', 'ragged')}"
                + (f" under {s['cap_gib']:.1f} GiB" if s.get("cap_gib") else "")
                for s in job["shapes"]
            ]
            print(f"{job['seconds']:5.0f} s {job['gib'][1]:6.1f} GiB  {job['id']}: {', '.join(shapes)}")
        count = sum(len(job["shapes"]) for job in jobs)
        print(f"{len(jobs)} jobs, {count} shapes, about {sum(job['seconds'] for job in jobs):.0f} s of the device")
        return
    for folder in filter(None, (options.scratch, options.store, options.memory_store)):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    options.out.mkdir(parents=True, exist_ok=True)
    jobs = [job for job in jobs if job["gib"][1] < card_gib() - 2]
    (options.out / "presets.json").write_text(json.dumps(planned(), indent=1))
    run(options, jobs)


if __name__ == "__main__":
    main()
