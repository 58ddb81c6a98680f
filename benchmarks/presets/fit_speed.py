"""Fit the speed model's constants to the runs measured on the H200, and write docs/speed.md with every error.

    python benchmarks/presets/fit_speed.py          prints the constants to put into launcher/trainers/<name>/speed.py
    python benchmarks/presets/fit_speed.py --page   writes docs/speed.md from the constants as they are there

Fitted to the step times in the records of benchmarks/sizing and benchmarks/presets, all of one H200; checked against
the figures that others published for other cards (published.json), which are not fitted.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.presets.calibrations import speed_errors  # noqa: E402
from benchmarks.presets.markdown_table import markdown  # noqa: E402
from benchmarks.presets.records import load  # noqa: E402
from launcher.catalog import Gpu, find_gpu, load_gpu, load_model  # noqa: E402
from launcher.catalog.architecture import count_parameters  # noqa: E402
from launcher.sizing import MemoryRequest, Speed, tokens_per_second  # noqa: E402
from launcher.trainers import get_trainer, trainer_names  # noqa: E402

SOURCES = ("benchmarks/sizing", "benchmarks/presets/results")
HELD_OUT = ("qwen2.5-7b", "llama-2-13b")  # architectures that the fit does not see
CONSTANTS = [field.name for field in fields(Speed) if isinstance(field.default, float)]
# How far a constant may be from where it starts, and how strongly it is held there: in units of its logarithm.
HOLD = 0.05
# What a constant can be: no share of a datasheet's figure above what plain matrix products or copies reach.
BOUNDS = {
    "matmul": (0.4, 0.9),
    "traffic": (1.0, 4.0),
    "dequant": (0.1, 0.9),
    "launch_lora": (0.5, 1.1),
    "offload": (1.0, 1.5),
    "plain_kernels": (1.0, 1.5),
}
# Where other jobs loaded and compiled on the same machine while a shape was timed, that can only have slowed it down: a
# prediction above the measurement weighs less than one below it.
WEIGHT_ABOVE = 0.3


@dataclass(frozen=True)
class Run:
    """One measured shape: what was asked, on which card, and its tokens per second."""

    trainer: str
    request: MemoryRequest
    gpu: Gpu
    tokens_per_second: float
    held_out: bool
    alone: bool = False  # nothing else ran on the machine while it was timed

    def error(self, speed: Speed | None = None) -> float:
        """Predicted over measured, less 1; with the constants ``speed`` (None: the trainer's own)."""
        predicted = tokens_per_second(with_speed(self.request, speed), self.gpu)
        assert predicted is not None
        return predicted / self.tokens_per_second - 1


def with_speed(request: MemoryRequest, speed: Speed | None) -> MemoryRequest:
    """The job at the constants ``speed``; None: its trainer's own."""
    return request if speed is None else replace(request, trainer=replace(request.trainer, speed=speed))


def measured_runs() -> list[Run]:
    """Every timed shape of the committed records; only those of full rows, whose tokens are known."""
    found = []
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*.json*")):
            found += [run for record in _records(path) if (run := _run(record)) is not None]
    return found


def _records(path: Path) -> list[dict[str, Any]]:
    """The records in a file of one (JSON) or of many (a line each); nothing where it holds something else."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines() if path.suffix == ".jsonl" else [text]
    read = [json.loads(line) for line in lines if line.strip()]
    return [record for record in read if isinstance(record, dict) and "shape" in record and "device" in record]


def _run(record: dict[str, Any]) -> Run | None:
    shape = record.get("shape", {})
    speed = record.get("tokens_per_second")
    if not speed or "out_of_memory" in record or shape.get("rows") == "own" or "curve" in record:
        return None
    if record.get("kind") == "blind" or (record.get("kind") == "preset" and shape.get("rows") == "ragged"):
        return None  # not timed
    if record["device"]["name"] == "cpu" or shape["sequence_len"] * shape["micro_batch_size"] < 1024:
        return None
    gpu = find_gpu(record["device"]["name"])
    model = load_model(record["model"])
    if record.get("layers"):
        model = replace(model, num_layers=record["layers"])
        model = replace(model, parameters=count_parameters(model))
    plan = record["plan"]
    request = MemoryRequest(
        model=model,
        trainer=get_trainer(record["trainer"]).terms,
        method=plan["method"],
        sequence_len=shape["sequence_len"],
        micro_batch_size=shape["micro_batch_size"],
        lora_r=plan["lora_r"],
        gradient_checkpointing=plan["gradient_checkpointing"],
        activation_offload=plan["activation_offload"],
        attn_implementation=plan["attn_implementation"],
        kernels=tuple(plan["kernels"]),
        compute_dtype=plan["compute_dtype"],
        packing=plan["packing"],
    )
    if gpu is None:
        return None
    return Run(record["trainer"], request, gpu, speed, record["model"] in HELD_OUT, record.get("alone", False))


def fit(runs: Sequence[Run], trainer: str) -> Speed:
    """The constants of one trainer: least squares of the logarithm of predicted over measured, outliers damped."""
    from scipy.optimize import least_squares

    now = get_trainer(trainer).speed
    start = replace(now, logit_bytes=now.logit_bytes or 8.0, step=now.step or 0.01)
    fixed = {"plain_kernels"} if trainer == "unsloth" else set()  # its kernels have no switch
    free = [name for name in CONSTANTS if getattr(start, name) > 0 and name not in fixed]
    used = [run for run in runs if run.trainer == trainer and not run.held_out]

    def speed(logs: Sequence[float]) -> Speed:
        rates: dict[str, Any] = {name: math.exp(log) for name, log in zip(free, logs, strict=True)}
        return replace(start, **rates)

    origin = [math.log(getattr(start, name)) for name in free]

    def residuals(logs: Sequence[float]) -> list[float]:
        tried = speed(logs)
        errors = [
            error * (WEIGHT_ABOVE if error > 0 and not run.alone else 1.0)
            for run, error in ((run, math.log1p(run.error(tried))) for run in used)
        ]
        held = [HOLD * (log - begun) for log, begun in zip(logs, origin, strict=True)]
        return errors + held

    limits = [BOUNDS.get(name, (1e-6, 1e6)) for name in free]
    low, high = ([math.log(pair[side]) for pair in limits] for side in (0, 1))
    origin = [min(max(log, least + 1e-6), most - 1e-6) for log, least, most in zip(origin, low, high, strict=True)]
    found = least_squares(residuals, origin, bounds=(low, high), loss="soft_l1", f_scale=0.1)
    return speed(found.x)


# --- the page ---


def published() -> list[dict[str, Any]]:
    figures: list[dict[str, Any]] = json.loads((ROOT / "benchmarks/presets/published.json").read_text(encoding="utf-8"))
    return figures


def published_request(figure: dict[str, Any]) -> tuple[MemoryRequest, Gpu]:
    request = MemoryRequest(
        model=load_model(figure["model"]),
        trainer=get_trainer(figure.get("trainer", "axolotl")).terms,
        method=figure["method"],
        sequence_len=figure["sequence_len"],
        micro_batch_size=figure["micro_batch_size"],
        gradient_checkpointing=figure.get("checkpointing", True),
        kernels=tuple(figure["kernels"]),
    )
    return request, load_gpu(figure["gpu"])


def published_rows(fitted: Mapping[str, Speed]) -> list[list[str]]:
    """Each published figure beside the prediction: with the constants ``fitted`` by trainer, else the trainer's own."""
    rows = []
    for figure in published():
        request, gpu = published_request(figure)
        speed = fitted.get(figure.get("trainer", "axolotl"))
        predicted = tokens_per_second(with_speed(request, speed), gpu)
        assert predicted is not None
        shape = f"{figure['method']}, {figure['micro_batch_size']} x {figure['sequence_len']}"
        if "tokens_per_second" in figure:
            said, error = f"{figure['tokens_per_second']:,}", f"{predicted / figure['tokens_per_second'] - 1:+.0%}"
        else:  # only rows of unknown length: full ones give a bound
            bound = figure["rows_per_second"] * figure["sequence_len"]
            said, error = f"at most {bound:,.0f}", f"{predicted / bound - 1:+.0%} of the bound"
        rows.append([figure["gpu"], figure["model"], shape, figure["source"], said, f"{predicted:,.0f}", error])
    return rows


def _summary(runs: Sequence[Run], speed: Speed | None = None) -> str:
    errors = [run.error(speed) for run in runs]
    if not errors:
        return "none"
    mean = statistics.mean(abs(error) for error in errors)
    return f"mean absolute error {mean:.1%}, worst {max(errors, key=abs):+.0%}, over {len(errors)} shapes"


def _model_name(request: MemoryRequest) -> str:
    """The model's name, and how many layers were left of it where it was cut."""
    model = request.model
    whole = load_model(model.name).num_layers
    return model.name if model.num_layers == whole else f"{model.name}, {model.num_layers} layers"


def page() -> str:
    runs = measured_runs()
    by_trainer = []
    for trainer in trainer_names():
        for held in (False, True):
            chosen = [run for run in runs if run.trainer == trainer and run.held_out == held]
            by_trainer.append([trainer, "held out" if held else "fitted", _summary(chosen)])
            alone = [run for run in chosen if run.alone]
            if alone:
                by_trainer.append([trainer, "of those, timed alone", _summary(alone)])
    details = []
    for run in sorted(runs, key=lambda run: (run.trainer, run.request.model.name, run.request.tokens)):
        job = run.request
        mode = "offload" if job.activation_offload else "recompute" if job.gradient_checkpointing else "keep"
        shape = f"{job.micro_batch_size} x {job.sequence_len}"
        predicted = tokens_per_second(job, run.gpu)
        details.append(
            [
                run.trainer,
                _model_name(job) + (" (held out)" if run.held_out else ""),
                f"{job.method}, {shape}, {mode}, {'+'.join(job.kernels) or 'no kernels'}, {job.compute_dtype}",
                f"{run.tokens_per_second:,.0f}",
                f"{predicted:,.0f}",
                f"{run.error():+.0%}",
            ]
        )
    beside = sum(not run.alone for run in runs)
    return f"""# How well the speed is predicted

Made by `benchmarks/presets/fit_speed.py --page` from the committed JSON; do not edit. Tokens per second of training on
full rows: the model's arithmetic over the card's dense 16-bit rate, the traffic of activations, logits and weights over
its bandwidth, and the host's time to start the kernels, whichever is longer. The shares of rate and bandwidth that each
trainer reaches are fitted to one H200; other cards get the same shares of their own rates.

## Against what others published

None of these was fitted. They come from other trainers, older libraries, and other kernels.

{markdown(("card", "model", "shape", "source", "published", "predicted", "error"), published_rows({}))}

litgpt gives the time of rows of up to 512 tokens, not their lengths: with full rows it is a bound.

## On a card that it was not fitted to

{speed_errors(load(HERE / "results")[2])}

## On the H200

{markdown(("trainer", "", "error"), by_trainer)}

Held out: {", ".join(HELD_OUT)}. While {beside} of these {len(runs)} shapes were timed, other
jobs loaded models on the same machine: that can only have slowed a shape down, so there the fit weighs a prediction
above the measurement less than one below it, and the errors are mostly on that side.

{markdown(("trainer", "model", "shape", "measured", "predicted", "error"), details)}
"""


def main() -> None:
    if "--page" in sys.argv:
        (ROOT / "docs" / "speed.md").write_text(page(), encoding="utf-8")
        return
    runs, fitted = measured_runs(), {}
    for trainer in trainer_names():
        before = [run for run in runs if run.trainer == trainer]
        print(f"{trainer}: before {_summary(before)}")
        fitted[trainer] = found = fit(runs, trainer)
        for held in (False, True):
            chosen = [run for run in before if run.held_out == held]
            print(f"  {'held out' if held else 'fitted'}: {_summary(chosen, found)}")
        print(f"  SPEED = Speed({', '.join(f'{name}={getattr(found, name):.4g}' for name in CONSTANTS)})")
    for row in published_rows(fitted):
        print(row)


if __name__ == "__main__":
    main()
