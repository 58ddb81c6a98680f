"""Run the probe over many jobs at once on one GPU: checkpoints are made while others measure, shapes one at a time.

    python benchmarks/sizing/measure.py --cases cases.json --out OUT --scratch DIR --seconds 540

Writes OUT/results.jsonl (a line per case, as it comes), OUT/measure.log and OUT/logs.txt, and stops by itself in time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = Path(os.environ.get("QL_ROOT", HERE.parent.parent))
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parents[2])]
GIB = 2**30
PROCESSES = 8
DEVICE_GIB = 132.0  # of models held on the device at once, with the largest peak
STORE_GIB = 72.0  # of checkpoints held at once
SPARE_SECONDS = 14.0  # before the limit: the last shape ends, results are flushed


def checkpoint_gib(key: str) -> float:
    from dataclasses import replace

    from benchmarks.random_checkpoint import find_model
    from launcher.catalog.architecture import count_parameters, linear_parameters

    name, kind, layers = key.split(":")
    model = find_model(name)
    if layers != "0":
        model = replace(model, num_layers=int(layers))
    linear = linear_parameters(model)
    return (linear * (0.516 if kind == "nf4" else 2) + (count_parameters(model) - linear) * 2) / GIB


def make(key: str, folder: str, tokenizer: str) -> float:
    """Write one checkpoint; seconds it took."""
    from benchmarks import random_checkpoint

    began = time.monotonic()
    name, kind, layers = key.split(":")
    target = Path(folder)
    target.mkdir(parents=True)
    if tokenizer:

        def copy_tokenizer(folder: Path) -> None:
            for file in ("tokenizer.json", "tokenizer_config.json"):
                shutil.copy(Path(tokenizer) / file, folder)

        random_checkpoint.write_tokenizer = copy_tokenizer
    random_checkpoint.write_checkpoint(name, target, quantized=kind == "nf4", layers=int(layers) or None)
    return time.monotonic() - began


def view(checkpoint: Path, folder: Path, compute_dtype: str) -> None:
    """A folder of links to ``checkpoint`` with a config.json of its own, for another compute dtype."""
    folder.mkdir(parents=True)
    for file in checkpoint.iterdir():
        if file.name != "config.json":
            (folder / file.name).symlink_to(file)
    config = json.loads((checkpoint / "config.json").read_text())
    if "quantization_config" in config:
        config["quantization_config"]["bnb_4bit_compute_dtype"] = compute_dtype
    (folder / "config.json").write_text(json.dumps(config))


class Measure:
    def __init__(self, options: argparse.Namespace) -> None:
        self.out, self.scratch, self.store = options.out, options.scratch, options.store
        self.deadline = time.time() + options.seconds
        self.jobs: list[dict[str, Any]] = json.loads(options.cases.read_text())
        for job in self.jobs:
            job["key"] = f"{job['model']}:{job.get('checkpoint', 'bf16')}:{job.get('layers', 0)}"
        self.waiting = list(self.jobs)
        self.running: dict[str, tuple[subprocess.Popen[bytes], dict[str, Any]]] = {}
        self.stored: dict[str, Future[float] | None] = {}
        self.done: set[str] = set()
        self.processes = options.processes
        self.log = (self.out / "measure.log").open("w")
        self.tokenizer = self.scratch / "tokenizer"

    def say(self, text: str) -> None:
        line = f"{self.deadline - time.time():6.1f} s left: {text}"
        print(line, flush=True)
        self.log.write(line + "\n")
        self.log.flush()

    def users(self, key: str) -> list[dict[str, Any]]:
        """Jobs that still need the checkpoint: not begun, or not yet loaded."""
        started = [job for process, job in self.running.values() if not self.loaded(job) and process.poll() is None]
        return [job for job in (*self.waiting, *started) if job["key"] == key]

    def loaded(self, job: dict[str, Any]) -> bool:
        return Path(self.scratch, job["id"], "loaded").exists()

    def place(self, key: str) -> Path:
        """The folder of a checkpoint."""
        return Path(self.store / key)

    def delete_checkpoints(self) -> None:
        """Those that no job needs any more."""
        for key in [key for key in self.stored if not self.users(key)]:
            future = self.stored[key]
            if future is None or future.done():
                shutil.rmtree(self.place(key), ignore_errors=True)
                del self.stored[key]
                self.say(f"deleted {key}")

    def write_checkpoints(self, pool: ProcessPoolExecutor) -> None:
        self.delete_checkpoints()
        used = sum(checkpoint_gib(key) for key in self.stored)
        for job in self.waiting:
            key = job["key"]
            if key in self.stored:
                continue
            if used + checkpoint_gib(key) > STORE_GIB:
                continue
            used += checkpoint_gib(key)
            self.stored[key] = pool.submit(make, key, str(self.place(key)), str(self.tokenizer))

    def held_gib(self) -> float:
        held: list[float] = [job["gib"][0] for _, job in self.running.values()]
        return sum(held)

    def start(self) -> None:
        for job in list(self.waiting):
            future = self.stored.get(job["key"])
            if len(self.running) >= self.processes or future is None or not future.done():
                continue
            if (problem := future.exception()) is not None:
                self.say(f"no checkpoint for {job['id']}: {problem}")
                self.waiting.remove(job)
                continue
            jobs = [job, *(other for _, other in self.running.values())]
            largest = max(each["gib"][1] - each["gib"][0] for each in jobs)
            if self.running and self.held_gib() + job["gib"][0] + largest > DEVICE_GIB:
                continue
            self.waiting.remove(job)
            folder = self.scratch / "models" / job["id"]
            view(self.place(job["key"]), folder, job.get("compute_dtype", "bfloat16"))
            file = self.scratch / f"{job['id']}.json"
            file.write_text(json.dumps({**job, "folder": str(folder)}))
            environment = {
                **os.environ,
                "HF_HUB_OFFLINE": "1",
                "AXOLOTL_DO_NOT_TRACK": "1",
                "TOKENIZERS_PARALLELISM": "false",
                "TORCHINDUCTOR_COMPILE_THREADS": "4",
                "OMP_NUM_THREADS": "4",
                "PROBE_DEADLINE": str(self.deadline - SPARE_SECONDS),
                "PROBE_LOCK": str(self.scratch / "lock"),
            }
            with (self.scratch / f"{job['id']}.log").open("w") as log:
                process = subprocess.Popen(
                    [sys.executable, str(HERE / "probe.py"), str(file), str(self.out / "results.jsonl")],
                    stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True,
                )  # fmt: skip
            self.running[job["id"]] = (process, job)
            self.say(f"started {job['id']}")

    def reap(self) -> None:
        for name, (process, job) in list(self.running.items()):
            if process.poll() is not None:
                del self.running[name]
                self.say(f"ended {name}: {process.returncode}")
                shutil.rmtree(self.scratch / "models" / job["id"], ignore_errors=True)

    def run(self) -> None:
        from benchmarks import random_checkpoint

        self.tokenizer.mkdir(parents=True)
        random_checkpoint.write_tokenizer(self.tokenizer)
        self.say(f"{len(self.jobs)} jobs, {sum(len(job['shapes']) for job in self.jobs)} shapes")
        with ProcessPoolExecutor(4) as pool:
            while (self.waiting or self.running) and time.time() < self.deadline - 4:
                self.reap()
                if time.time() < self.deadline - 60:
                    self.write_checkpoints(pool)
                    self.start()
                elif not self.running:
                    break
                time.sleep(0.25)
            for process, _ in self.running.values():
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
            for future in self.stored.values():
                if future is not None:
                    future.cancel()
            self.say(f"not begun: {[job['id'] for job in self.waiting]}")
            with (self.out / "logs.txt").open("w") as logs:
                for job in self.jobs:
                    log = self.scratch / f"{job['id']}.log"
                    if log.is_file():
                        logs.write(f"===== {job['id']}\n" + log.read_text(errors="replace")[-9000:] + "\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, default=Path("/tmp/sizing"))
    parser.add_argument("--store", type=Path, default=Path("/tmp/sizing-store"))
    parser.add_argument("--seconds", type=float, default=540.0)
    parser.add_argument("--processes", type=int, default=PROCESSES)
    options = parser.parse_args()
    for folder in (options.scratch, options.store):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    options.out.mkdir(parents=True, exist_ok=True)
    Measure(options).run()


if __name__ == "__main__":
    main()
