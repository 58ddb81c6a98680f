"""Measure one job: a real trainer on one loaded model, over several shapes of batch. Used by measure.py.

    python benchmarks/sizing/probe.py JOB.json RESULTS.jsonl

The trainer is built once, through its own entry: Axolotl's config loading, data sets and setup, or the train.py that
ql exports for Unsloth, from the files that ql renders. Then each shape runs steps of the trainer's own loop on rows of
that shape, and an evaluation; the peaks are reset in between.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import random
import shutil
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.sizing.device_memory import Device

ROOT = Path(os.environ.get("QL_ROOT", Path(__file__).resolve().parent.parent.parent))
ACCUMULATION = 2  # micro-batches per step: the gradients of the first are there while the second runs
STEPS = 2  # the first warms up, the last is timed
WARM_UPS = ((128, 2), (192, 3))
DEADLINE = float(os.environ.get("PROBE_DEADLINE", "inf"))  # no shape is begun after it
VERSIONS = (
    "axolotl", "unsloth", "unsloth_zoo", "torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes",
    "liger-kernel",
)  # fmt: skip


PLAN_KEYS = (
    "compute_dtype", "double_quant", "lora_r", "lora_target_modules", "optimizer", "attn_implementation",
    "gradient_checkpointing", "activation_offload", "kernels", "packing", "method",
)  # fmt: skip
TOLD = ("training", "tokens_per_second", "wall_seconds", "error", "out_of_memory")


class Enough(Exception):
    """The trainer is built: do not train yet."""


# --- the job's files, as ql renders them ---


def write_files(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """config.yaml, chat template and a few rows of data, in ``folder``; returns the plan's values."""
    sys.path.insert(0, str(ROOT))
    from launcher.configs.render import render_config
    from launcher.planning.decide import make_plan
    from launcher.preparing.request import make_request

    settings: dict[str, Any] = {
        "sequence_len": max(shape["sequence_len"] for shape in job["shapes"]),
        "micro_batch_size": 1,
        "gradient_accumulation_steps": ACCUMULATION,
        "eval_batch_size": 1,
        "chat_template": "inst",
        "compute_dtype": job.get("compute_dtype", "bfloat16"),
        "gradient_checkpointing": job.get("gradient_checkpointing", True),
        "activation_offload": job.get("activation_offload", False),
        "packing": job.get("packing", False),
        "attn_implementation": job.get("attn_implementation", "sdpa"),
        "lora_r": job.get("lora_r", 16),
        "kernels": tuple(job.get("kernels", ())),
        **job.get("settings", {}),
    }
    gpu = "cpu" if job.get("cpu") else "h200"
    request = make_request(
        gpu=gpu, model=job["folder"], method=job["method"], backend=job["trainer"], settings=settings
    )
    if stored := request.model.stored:  # see as_quantised_from
        stored = replace(stored, dtype=settings["compute_dtype"])
        request = replace(request, model=replace(request.model, stored=stored))
    plan = replace(make_plan(request), max_steps=STEPS)
    for name, text in render_config(plan, {"eos": "</s>", "eot": "</s>", "pad": "<pad>"}).items():
        (folder / name).write_text(text, encoding="utf-8")
    shutil.copy(ROOT / "templates" / "chat" / "inst.jinja", folder / "chat_template.jinja")
    (folder / "data").mkdir(exist_ok=True)
    turns = [{"role": "user", "content": "count"}, {"role": "assistant", "content": "one two three " * 10}]
    text = "".join(json.dumps({"messages": turns}) + "\n" for _ in range(8))
    for name in ("train", "eval"):
        (folder / "data" / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return plan.to_dict()


# --- the two trainers, built by their own code ---


def build_axolotl(folder: Path) -> Any:
    from axolotl.cli.args import TrainerCliArgs
    from axolotl.cli.config import load_cfg
    from axolotl.common.datasets import load_datasets
    from axolotl.integrations.base import PluginManager
    from axolotl.train import setup_model_and_trainer

    cfg = load_cfg(str(folder / "config.yaml"))
    meta = None
    if cfg.get("plugins"):
        meta = PluginManager.get_instance().load_datasets(cfg, preprocess=False)
    meta = meta or load_datasets(cfg=cfg, cli_args=TrainerCliArgs())
    return setup_model_and_trainer(cfg, meta)[0]


def build_unsloth(folder: Path) -> Any:
    os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")
    os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(folder / "unsloth_code"))
    spec = importlib.util.spec_from_file_location("exported_train", folder / "train.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    config = script.read_config("config.yaml")
    import trl
    import unsloth  # noqa: F401

    built: list[Any] = []
    train = trl.SFTTrainer.train

    def gate(self: Any, *args: Any, **kwargs: Any) -> Any:
        """The first call only says that the trainer is ready; Unsloth's wrappers around train stay in place."""
        if not built:
            built.append(self)
            raise Enough
        return train(self, *args, **kwargs)

    trl.SFTTrainer.train = gate
    with contextlib.suppress(Enough):
        script.train(config, False)
    return built[0]


# --- one shape ---


def lengths(shape: dict[str, Any], count: int, draw: random.Random) -> list[int]:
    """Row lengths: "full" ones alone, "short" ones to be packed, else one full row in each batch and shorter ones."""
    longest, batch = shape["sequence_len"], shape["micro_batch_size"]
    if shape.get("rows") == "short":
        return [draw.randint(longest // 8, longest // 3) for _ in range(count * 8)]
    if shape.get("rows") == "full":
        return [longest] * count
    return [longest if n % batch == 0 else draw.randint(longest * 6 // 10, longest * 95 // 100) for n in range(count)]


def make_rows(like: Any, shape: dict[str, Any], count: int, vocabulary: int) -> Any:
    """A data set of ``count`` random rows with the columns of the trainer's own."""
    from datasets import Dataset

    draw = random.Random(1)
    columns = set(like.column_names)
    rows: dict[str, list[Any]] = {name: [] for name in ("input_ids", "labels", *columns)}
    for length in lengths(shape, count, draw):
        ids = [draw.randrange(5, min(8000, vocabulary)) for _ in range(length)]
        values = {
            "input_ids": ids,
            "labels": ids,
            "attention_mask": [1] * length,
            "position_ids": list(range(length)),
            "length": length,
            "seq_lengths": [length],
            "completion_mask": [1] * length,
            "assistant_masks": [1] * length,
        }
        for name in rows:
            rows[name].append(values[name])
    return Dataset.from_dict(rows)


def stopwatch(device: Device) -> Any:
    from transformers import TrainerCallback

    class Stopwatch(TrainerCallback):  # type: ignore[misc]  # Any where mypy does not read transformers
        """Seconds of each step, the device idle at both ends."""

        def __init__(self) -> None:
            self.seconds: list[float] = []

        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            if device.cuda:
                device.torch.cuda.synchronize()
            self.began = time.perf_counter()

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            if device.cuda:
                device.torch.cuda.synchronize()
            self.seconds.append(time.perf_counter() - self.began)

    return Stopwatch()


def prepare(trainer: Any, shape: dict[str, Any]) -> tuple[Any, Any]:
    """The rows that a shape trains on and is evaluated on; (None, None) for the trainer's own."""
    batch, vocabulary = shape["micro_batch_size"], trainer.model.config.vocab_size
    own, rows = trainer.train_dataset, shape.get("eval_rows", batch)
    count = batch * ACCUMULATION * shape.get("steps", STEPS)
    trained = None if shape.get("rows") == "own" else make_rows(own, shape, count, vocabulary)
    return trained, make_rows(own, {**shape, "micro_batch_size": rows}, rows, vocabulary) if rows else None


def run_shape(trainer: Any, shape: dict[str, Any], rows: tuple[Any, Any], device: Device) -> dict[str, Any]:
    """Train two steps on one shape and evaluate one batch; peaks and times."""
    import torch
    from torch.utils.data import SequentialSampler

    batch, steps, args = shape["micro_batch_size"], shape.get("steps", STEPS), trainer.args
    trained, evaluated = rows
    args.per_device_train_batch_size = trainer._train_batch_size = batch
    args.max_steps, args.eval_strategy, args.save_strategy = steps, "no", "no"
    args.eval_on_start = args.load_best_model_at_end = False
    args.logging_steps = 1
    own = trainer.train_dataset
    if trained is not None:
        trainer.train_dataset = trained
        trainer._get_train_sampler = lambda *given, **named: SequentialSampler(trainer.train_dataset)
    watch = stopwatch(device)
    trainer.add_callback(watch)
    trainer.model.zero_grad(set_to_none=True)
    found: dict[str, Any] = {}
    try:
        device.clear()
        found["before"] = device.now()
        if shape.get("history"):
            device.record()
        trainer.train()
        found["training"] = device.peaks()
        found["after"] = device.now()
        if shape.get("history"):
            found["composition"] = device.composition()
        found["step_seconds"] = [round(second, 4) for second in watch.seconds]
        tokens = batch * ACCUMULATION * shape["sequence_len"]
        found["tokens_per_second"] = round(tokens / watch.seconds[-1], 1)
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        found["loss"] = losses[-1] if losses else None
        if evaluated is not None:
            trainer.model.zero_grad(set_to_none=True)
            args.per_device_eval_batch_size = count = len(evaluated)
            device.clear()
            began = time.perf_counter()
            trainer.evaluate(evaluated)
            found["evaluation"] = {**device.peaks(), "rows": count, "seconds": round(time.perf_counter() - began, 3)}
    except torch.OutOfMemoryError as error:
        found["out_of_memory"] = str(error)[:300]
        found["training"] = found.get("training") or device.peaks()
    finally:
        if shape.get("history"):
            device.stop_recording()
        trainer.remove_callback(watch)
        trainer.train_dataset = own
        trainer.model.zero_grad(set_to_none=True)
    return found


def as_quantised_from(trainer: Any, dtype: str) -> None:
    """Let the 4-bit weights of a stored checkpoint dequantise to ``dtype``, as those of a base in that dtype do.

    A stored checkpoint remembers the dtype that it was quantised from; Axolotl's LoRA kernels fail in another compute
    dtype (QL512), and what is measured here stands for a base that is quantised while it loads.
    """
    import torch

    for module in trainer.model.modules():
        state = getattr(getattr(module, "weight", None), "quant_state", None)
        if state is not None:
            state.dtype = getattr(torch, dtype)


# --- one job ---


def append(results: Path, record: dict[str, Any]) -> None:
    with results.open("a", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        stream.write(json.dumps(record) + "\n")


def versions() -> dict[str, str]:
    from importlib import metadata

    found = {}
    for name in VERSIONS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def warm_up(trainer: Any, device: Device) -> None:
    """Compile the kernels on small shapes, while others measure."""
    for sequence_len, batch in WARM_UPS:
        small = {"sequence_len": sequence_len, "micro_batch_size": batch, "steps": 1, "rows": "full"}
        try:
            run_shape(trainer, small, prepare(trainer, small), device)
        except Exception:
            traceback.print_exc()


def timed(trainer: Any, shape: dict[str, Any], rows: tuple[Any, Any], device: Device) -> dict[str, Any]:
    """`run_shape`, or its error, with when it ended and how long it took."""
    clock = time.perf_counter()
    try:
        found = run_shape(trainer, shape, rows, device)
    except Exception as error:
        traceback.print_exc()
        found = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
    found["wall_seconds"] = round(time.perf_counter() - clock, 2)
    found["at"] = round(time.time(), 1)
    device.clear()
    return found


def start_device(job: dict[str, Any]) -> tuple[Device, Any]:
    """The device with its context made, and what it shows then; None on a CPU."""
    os.environ["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"  # as both trainers set it, where it is absent
    if job["trainer"] == "unsloth":
        import unsloth  # noqa: F401  (before anything imports transformers)
    device = Device()
    if not device.cuda:
        return device, None
    device.now()
    device.torch.zeros(1, device="cuda")
    return device, device.now()


def main() -> None:
    began = time.perf_counter()
    job, results = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]).resolve()
    lock = Path(os.environ.get("PROBE_LOCK", "/tmp/probe.lock"))
    folder = Path(sys.argv[1]).resolve().parent / job["id"]
    folder.mkdir(parents=True, exist_ok=True)
    plan = write_files(job, folder)
    os.chdir(folder)
    sys.argv = ["train.py", "config.yaml"]
    device, started = start_device(job)
    print(f"imported after {time.perf_counter() - began:.1f} s", flush=True)
    trainer = build_axolotl(folder) if job["trainer"] == "axolotl" else build_unsloth(folder)
    as_quantised_from(trainer, plan["compute_dtype"])
    if device.cuda:
        device.torch.cuda.synchronize()
    loading = device.peaks()
    common = {
        **{key: value for key, value in job.items() if key not in ("shapes", "folder")},
        "plan": {key: plan[key] for key in PLAN_KEYS},
        "device": device.facts(),
        "versions": versions(),
        "context": started,
        "loading": {**loading, "seconds": round(time.perf_counter() - began, 1)},
        "accumulation": ACCUMULATION,
    }  # fmt: skip
    common["trainable"] = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    print(f"built after {time.perf_counter() - began:.1f} s, {loading}", flush=True)
    Path(folder, "loaded").touch()
    if not job.get("packing"):
        warm_up(trainer, device)
    print(f"warm after {time.perf_counter() - began:.1f} s", flush=True)
    for shape in job["shapes"]:
        rows = prepare(trainer, shape)
        with lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            if time.time() > DEADLINE:
                print("the deadline has passed", flush=True)
                break
            found = timed(trainer, shape, rows, device)
        append(results, {**common, "shape": shape, **found})
        print(shape, {key: found.get(key) for key in TOLD}, flush=True)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # without the teardown of CUDA and of workers, which takes seconds
