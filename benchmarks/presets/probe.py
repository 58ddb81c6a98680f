"""The probe of benchmarks/sizing with each shape under a cap, and with real data or a curve where the job asks for it.

    python benchmarks/presets/probe.py JOB.json RESULTS.jsonl        started by prove.py

Beside the sizing probe's, a shape may have
  cap_gib      what the allocator may reserve while it runs (`torch.cuda.set_per_process_memory_fraction`)
  rows: own    train on the job's own data, through the trainer's own sampler and collator; ``steps`` of them
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(os.environ.get("QL_ROOT", Path(__file__).resolve().parent.parent.parent))
GIB = 2**30
LATER = 10  # niceness of a process that loads or warms up
JOB: dict[str, Any] = {}  # the one that this process was started for


def load(path: Path, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sizing = load(ROOT / "benchmarks" / "sizing" / "probe.py", "sizing_probe")
others = load(ROOT / "benchmarks" / "presets" / "others.py", "others")
RUN = Path(sys.argv[1]).resolve().parent if len(sys.argv) > 1 else Path()  # folder that all probes of a run share


def write_own_rows(path: Path, job: dict[str, Any]) -> None:
    """Rows of words with log-normal lengths, cut at the sequence length: what instruction data looks like."""
    own, draw = job["own_rows"], random.Random(job.get("seed", 1))
    words = Path(ROOT, "README.md").read_text(encoding="utf-8").split()
    with path.open("w", encoding="utf-8") as stream:
        for number in range(own["rows"]):
            count = int(draw.lognormvariate(math.log(own["words"]) - own["sigma"] ** 2 / 2, own["sigma"]))
            count = min(max(4, count), own["longest"])
            start = draw.randrange(len(words))
            answer = " ".join(words[(start + n) % len(words)] for n in range(count))
            turns = [{"role": "user", "content": f"row {number}"}, {"role": "assistant", "content": answer}]
            stream.write(json.dumps({"messages": turns}) + "\n")


def write_files(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The sizing probe's files, with the job's own rows as training data where it has some."""
    JOB.update(job)
    plan: dict[str, Any] = sizing_write_files(job, folder)
    if "own_rows" in job:
        write_own_rows(folder / "data" / "train.jsonl", job)
    return plan


def micro_batch_clock(device: Any) -> Any:
    """Seconds of each micro-batch, the device idle at both ends.

    Once the first has compiled what there is to compile, the other probes are stopped, where the job is timed.
    """
    from transformers import TrainerCallback

    class Clock(TrainerCallback):  # type: ignore[misc]  # Any where mypy does not read transformers
        def __init__(self) -> None:
            self.seconds: list[float] = []
            self.alone = False
            self.began = 0.0

        def _mark(self) -> None:
            if device.cuda:
                device.torch.cuda.synchronize()
            self.seconds.append(time.perf_counter() - self.began)
            if len(self.seconds) == 1 and JOB.get("kind") not in (None, "blind"):
                self.alone = True
                others.stop(RUN)
            self.began = time.perf_counter()

        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            if device.cuda:
                device.torch.cuda.synchronize()
            self.began = time.perf_counter()

        def on_substep_end(self, *args: Any, **kwargs: Any) -> None:
            self._mark()

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            self._mark()

        def on_train_end(self, *args: Any, **kwargs: Any) -> None:
            self.let_go()

        def let_go(self) -> None:
            if self.alone:
                others.wake(RUN)

    return Clock()


def hurry(nice: int) -> None:
    """Let every thread of this process run before, or behind, those of the jobs that load meanwhile."""
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, int(thread.name), nice)


def run_shape(trainer: Any, shape: dict[str, Any], rows: Any, device: Any) -> dict[str, Any]:
    """One shape, under its cap."""
    total = device.torch.cuda.get_device_properties(0).total_memory if device.cuda else GIB
    share = min(1.0, shape["cap_gib"] * GIB / total) if shape.get("cap_gib") else 1.0
    if device.cuda:
        device.torch.cuda.set_per_process_memory_fraction(share)
    hurry(0 if "presets" in shape else LATER)
    try:
        if "presets" not in shape:  # a warm-up
            warm: dict[str, Any] = sizing_run_shape(trainer, shape, rows, device)
            return warm
        clock = micro_batch_clock(device)
        trainer.add_callback(clock)
        try:
            run = run_own if shape.get("rows") == "own" else sizing_run_shape
            found: dict[str, Any] = run(trainer, shape, rows, device)
        finally:
            clock.let_go()
            trainer.remove_callback(clock)
        if clock.alone and "out_of_memory" not in found:
            found["alone"] = True
        if shape.get("rows") == "own":
            return found
        found["micro_batch_seconds"] = [round(second, 4) for second in clock.seconds]
        if clock.seconds and "out_of_memory" not in found:
            # The quickest: the first one compiles, and some hold an optimizer's step too.
            tokens = shape["micro_batch_size"] * shape["sequence_len"]
            found["tokens_per_second"] = round(tokens / min(clock.seconds), 1)
        return found
    finally:
        hurry(LATER)
        if device.cuda:
            device.torch.cuda.set_per_process_memory_fraction(1.0)


def run_own(trainer: Any, shape: dict[str, Any], rows: Any, device: Any) -> dict[str, Any]:
    """Train ``steps`` on the job's own data as the trainer itself batches it: losses, tokens of rows per second."""
    sys.path.insert(0, str(ROOT / "launcher" / "inject"))
    from ql_telemetry import TelemetryCallback

    events = Path(f"events-{time.time_ns()}.jsonl").resolve()
    os.environ["QL_EVENTS"] = str(events)
    os.environ.pop("QL_STOP", None)
    args = trainer.args
    args.per_device_train_batch_size = trainer._train_batch_size = shape["micro_batch_size"]
    args.gradient_accumulation_steps = shape.get("accumulation", 1)
    args.max_steps, args.eval_strategy, args.save_strategy = shape["steps"], "no", "no"
    args.eval_on_start = args.load_best_model_at_end = False
    args.logging_steps = 1
    telemetry = TelemetryCallback()
    trainer.add_callback(telemetry)
    device.clear()
    try:
        trainer.train()
    finally:
        trainer.remove_callback(telemetry)
    read = [json.loads(line) for line in events.read_text(encoding="utf-8").splitlines()]
    logs = [event for event in read if event["event"] == "log"]
    keys = ("step", "loss", "grad_norm", "loss_scale", "tokens", "tokens_per_second", "skipped_steps", "nonfinite")
    rates = sorted(event["tokens_per_second"] for event in logs[2:] if event.get("tokens_per_second"))
    return {
        "training": device.peaks(),
        "after": device.now(),
        "tokens_per_second": rates[len(rates) // 2] if rates else None,
        "curve": [{key: event[key] for key in keys if key in event} for event in logs],
    }


if __name__ == "__main__":
    sizing_write_files, sizing_run_shape = sizing.write_files, sizing.run_shape
    sizing.write_files, sizing.run_shape = write_files, run_shape
    # A step is two micro-batches: the second has the first one's gradients beside it.
    sizing.STEPS = 1
    others.register(RUN)
    sizing.main()
    sys.stdout.flush()
    os._exit(0)
