"""Time one trainer on micro-batches of short rows, eagerly and, for Axolotl, with CUDA graphs of its layers.

    python benchmarks/overhead/probe.py JOB.json RESULTS.jsonl        started by run.py

The trainer is built as benchmarks/sizing/probe.py builds it. Each shape trains twice over: to compile and record, and
to be timed. The adapter starts anew for each way, so that losses can be compared.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import sys
import time
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))


def load_sizing() -> Any:
    spec = importlib.util.spec_from_file_location("sizing_probe", ROOT / "benchmarks" / "sizing" / "probe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def trained(model: Any) -> dict[str, Any]:
    return {name: weights for name, weights in model.named_parameters() if weights.requires_grad}


def main() -> None:
    began = time.perf_counter()
    sizing = load_sizing()
    job, results = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]).resolve()
    folder = Path(sys.argv[1]).resolve().parent / job["id"]
    folder.mkdir(parents=True, exist_ok=True)
    plan = sizing.write_files(job, folder)
    os.chdir(folder)
    sys.argv = ["train.py", "config.yaml"]
    device, _ = sizing.start_device(job)
    trainer = sizing.build_axolotl(folder) if job["trainer"] == "axolotl" else sizing.build_unsloth(folder)
    sizing.as_quantised_from(trainer, plan["compute_dtype"])
    first = {name: weights.detach().clone() for name, weights in trained(trainer.model).items()}
    print(f"built after {time.perf_counter() - began:.1f} s", flush=True)
    graphs: Any = None

    def measure(way: str, shape: dict[str, Any]) -> None:
        clock = time.perf_counter()
        found: dict[str, Any]
        try:
            sizing.run_shape(trainer, {**shape, "steps": 3}, sizing.prepare(trainer, {**shape, "steps": 3}), device)
            warm = time.perf_counter() - clock
            for name, weights in trained(trainer.model).items():
                weights.data.copy_(first[name])
            found = sizing.run_shape(trainer, shape, sizing.prepare(trainer, shape), device)
            found["warm_up_seconds"] = round(warm, 2)
        except Exception as error:
            traceback.print_exc()
            found = {"error": f"{type(error).__name__}: {str(error)[:400]}"}
        if found.get("step_seconds"):
            per = [second / sizing.ACCUMULATION for second in found["step_seconds"]]
            found["micro_batch_seconds"] = {
                "median": round(statistics.median(per), 4), "min": round(min(per), 4), "max": round(max(per), 4)
            }  # fmt: skip
        common = {key: value for key, value in job.items() if key not in ("shapes", "folder")}
        found |= {"graphs": graphs.report()} if graphs else {}
        sizing.append(
            results,
            {**common, "way": way, "shape": shape, "device": device.facts(), "versions": sizing.versions(), **found},
        )
        print(way, shape, found.get("micro_batch_seconds"), found.get("loss"), found.get("error"), flush=True)

    for shape in job["shapes"]:
        measure("eager", shape)
    if job["trainer"] == "axolotl":
        from benchmarks.overhead.graphs import GraphedLayers

        graphs = GraphedLayers(trainer.model)
        graphs.attach()
        for shape in job["shapes"]:
            measure("graphs", shape)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # without the teardown of CUDA and of workers, which takes seconds
