"""A blind test of the memory model: what it says of architectures that it was never fitted to, written down beforehand.

    python benchmarks/sizing/blind.py predict     writes blind-predictions.json; refuses once there is a measurement
    python benchmarks/sizing/blind.py             what is predicted, and how much of it was measured

The file holds the jobs, the predictions and which model made them. What comes back from a GPU is compared with it, and
not with what the model would say by then. Some cases run under a cap: of what was predicted to be reserved, or of the
card that a plan was solved for, which must not run out of memory; or of too little, which must.
"""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.random_checkpoint import ARCHITECTURES, find_model  # noqa: E402
from benchmarks.sizing.cases import FUSED, job, shape  # noqa: E402
from benchmarks.sizing.collect import name as case_name  # noqa: E402
from benchmarks.sizing.residuals import measured, predicted, request_of  # noqa: E402

PREDICTIONS = HERE / "blind-predictions.json"
RESULTS = HERE / "results" / "blind"
MODELS = ("yi-6b", "qwen3-8b", "llama-3.2-3b", "mistral-nemo-12b")
TOTAL_GIB = 139.801  # of the H200 that measures, as CUDA counts
SHORT = 0.94  # of what is predicted to be allocated: a cap that must run out
SOLVED_FOR = "4090"  # card whose plan, as `ql` makes it for each of the first two models, is run under its memory
OWN_ROWS = {"rows": 400, "words": 300, "sigma": 0.7, "longest": 1800}  # what packing packs
FIGURES = ("allocated", "device", "evaluation", "evaluation device", "loading device")
SUMMARY_HEAD = ("| trainer | figure | cases | mean error | worst | lowest |", "|---|---|---|---|---|---|")


# --- the jobs ---


def plain_jobs() -> list[dict[str, Any]]:
    """Every trainer, method and way of keeping activations, on shapes from 512 to 8,192 tokens and 1 to 16 rows."""
    few = [shape(2048, 2), shape(4096, 2), shape(1024, 16)]
    jobs = []
    for model in MODELS:
        wide = model in MODELS[:2]
        longest = min(find_model(model).max_position_embeddings, 8192)
        usual = [shape(2048, 2), shape(512, 16), shape(longest, 8192 // longest), shape(2048, 8)]
        stored = "bf16" if model == "llama-3.2-3b" else "nf4"  # one of them is quantised while it loads
        for trainer in ("axolotl", "unsloth"):
            kernels: dict[str, Any] = {"kernels": FUSED} if trainer == "axolotl" else {}
            rows = {} if trainer == "axolotl" else {"rows": "full"}

            def add(
                shapes: Iterable[dict[str, Any]], trainer: str = trainer, model: str = model, **more: Any
            ) -> dict[str, Any]:
                jobs.append(job(trainer, model, [dict(one) for one in shapes], **more))
                return jobs[-1]

            found = add([{**one, **rows} for one in (usual if wide else few)], checkpoint=stored, **kernels)
            found["capped"] = wide
            if trainer == "unsloth" and wide:
                found["shapes"].append(shape(2048, 8, rows="ragged"))
            if model != "mistral-nemo-12b":
                add([{**one, **rows} for one in (shape(2048, 2), shape(1024, 8))], method="lora", **kernels)
            if wide:
                kept = [{**shape(2048, 1), **rows}, {**shape(1024, 4), **rows}]
                add(kept, gradient_checkpointing=False, **kernels)
        if model == MODELS[0]:
            for trainer, more in (("axolotl", {"kernels": FUSED}), ("unsloth", {})):
                packed = shape(2048, 4, rows="own", steps=3, eval_rows=0, accumulation=2)
                jobs.append({**job(trainer, model, [packed], packing=True, **more), "own_rows": OWN_ROWS})
            jobs.append(job("axolotl", model, [shape(2048, 2), shape(4096, 1)]))
    return jobs


def solved_job(trainer: str, model: str) -> dict[str, Any]:
    """The plan that ql makes for a card, under that card's memory: what a person is told fits."""
    from launcher.planning.decide import make_plan
    from launcher.planning.estimate import estimate_plan_memory
    from launcher.preparing.request import make_request
    from launcher.sizing.memory import cuda_context, paged_state

    request = make_request(gpu=SOLVED_FOR, model=str(ARCHITECTURES / model), backend=trainer)
    plan = make_plan(request)
    if not estimate_plan_memory(plan, request).fits:
        raise SystemExit(f"{model} does not fit {SOLVED_FOR} with {trainer}")
    chosen = {
        "gradient_checkpointing": plan.gradient_checkpointing,
        "activation_offload": plan.activation_offload,
        "kernels": list(plan.kernels),
        "compute_dtype": plan.compute_dtype,
    }
    rows = "ragged" if trainer == "axolotl" else "full"
    one = shape(plan.sequence_len, plan.micro_batch_size, rows=rows, eval_rows=plan.eval_batch_size)
    found = job(trainer, model, [one], method=plan.method, **chosen)
    sized = request_of(_raw({**found, "model": model}, one))
    one["cap_gib"] = round(request.gpu.usable_gib - cuda_context(sized) - paged_state(sized), 4)
    one["expected"] = "fits"
    return {**found, "id": f"{trainer}-{model}-solved-{SOLVED_FOR}"}


def _raw(one: dict[str, Any], shape: dict[str, Any]) -> dict[str, Any]:
    """A job and a shape as a measurement would record them, the figures left out."""
    return {
        **{key: value for key, value in one.items() if key != "shapes"},
        "plan": plan_of(one),
        "shape": shape,
        "device": {"total_gib": TOTAL_GIB},
        "evaluation": {"rows": shape.get("eval_rows") or shape["micro_batch_size"]},
    }


_PLANS: dict[str, dict[str, Any]] = {}


def plan_of(one: dict[str, Any]) -> dict[str, Any]:
    """The plan that the probe will make of the job, by the probe's own code."""
    from benchmarks.sizing import probe

    key = json.dumps({k: v for k, v in one.items() if k not in ("gib", "id")}, sort_keys=True)
    if key not in _PLANS:
        with tempfile.TemporaryDirectory() as folder:
            _PLANS[key] = probe.write_files({**one, "folder": str(ARCHITECTURES / one["model"])}, Path(folder))
    return _PLANS[key]


# --- the predictions ---


def predict() -> dict[str, Any]:
    """The whole content of `PREDICTIONS`, from the model as it is."""
    from launcher.sizing import estimate_memory

    jobs = plain_jobs() + [solved_job(trainer, model) for model in MODELS[:2] for trainer in ("axolotl", "unsloth")]
    cases: dict[str, Any] = {}
    for one in jobs:
        peaks = []
        for each in list(one["shapes"]):
            request = request_of(_raw(one, each))
            estimate = estimate_memory(request)
            said = {figure: round(gib, 4) for figure, gib in predicted(request, estimate).items()}
            said["reserved"] = round(estimate.reserved_gib, 4)
            cases[case_name({**one, "shape": each})] = {"predicted": said, "expected": each.get("expected")}
            peaks.append(max(estimate.reserved_gib, estimate.evaluation_gib))
            full = each["sequence_len"] == 2048 and each["micro_batch_size"] == 8 and each.get("rows") != "ragged"
            if one.get("capped") and full:
                for expected, cap in (("fits", estimate.reserved_gib), ("runs out", SHORT * estimate.allocated_gib)):
                    capped = {**each, "eval_rows": 1, "cap_gib": round(cap, 4), "expected": expected}
                    one["shapes"].append(capped)
                    cases[case_name({**one, "shape": capped})] = {"predicted": said, "expected": expected}
        one.pop("capped", None)
        one["gib"] = [one["gib"][0], round(max(peaks) + 2.0, 1)]
        one["shapes"] = [{**each, "presets": []} for each in one["shapes"]]
        one |= {"kind": "blind", "seed": 1, "seconds": 3.5 * len(one["shapes"])}
        one.setdefault("compute_dtype", "bfloat16")
    return {"made": datetime.date.today().isoformat(), "by": made_by(), "jobs": jobs, "cases": cases}


def made_by() -> dict[str, str]:
    """Which model predicts: the last commit that changed it, and git's hash of each folder it lives in.

    Raises SystemExit where a file of it is not committed.
    """
    folders = ("launcher/sizing", "launcher/trainers", "launcher/catalog", "launcher/planning")

    def git(*argv: str) -> str:
        return subprocess.run(["git", *argv], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()

    if changed := git("status", "--porcelain", "--", *folders):
        sys.exit(f"commit the model first:\n{changed}")
    hashes = {folder: git("rev-parse", f"HEAD:{folder}") for folder in folders}
    return {"commit": git("log", "-1", "--format=%H", "--", *folders[:2]), **hashes}


def committed() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(PREDICTIONS.read_text(encoding="utf-8"))
    return found


def jobs() -> list[dict[str, Any]]:
    """What is to be measured, with the caps that were written down: for benchmarks/presets/prove.py."""
    found: list[dict[str, Any]] = committed()["jobs"]
    return found


# --- predicted against measured ---


def read(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """The measurements, by the name of their case."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def errors(said: dict[str, Any], raw: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Figure: (measured, predicted), from the committed prediction; nothing for a case under a cap."""
    if said["expected"] or "out_of_memory" in raw:
        return {}
    found = measured(raw)
    return {figure: (found[figure], said["predicted"][figure]) for figure in FIGURES if figure in found}


def outcome(raw: dict[str, Any]) -> str:
    return "runs out" if "out_of_memory" in raw else "fits"


def bounded(name: str, raw: dict[str, Any]) -> bool:
    """Whether what is predicted is the most that the rows can take: Unsloth takes the padding out of a batch."""
    return raw["trainer"] == "unsloth" and name.endswith("-ragged")


def summary(pairs: list[tuple[float, float]]) -> str:
    """Cells of a table: cases, mean absolute error, worst, and the deepest underestimate."""
    shares = [predicted / measured - 1 for measured, predicted in pairs]
    mean = sum(map(abs, shares)) / len(shares)
    return f"{len(shares)} | {mean:.1%} | {max(shares, key=abs):+.1%} | {min(shares):+.1%}"


def section(predictions: dict[str, Any], results: dict[str, dict[str, Any]]) -> str:
    """The part of docs/memory.md about the blind test."""
    cases = {name: case for name, case in predictions["cases"].items() if name in results}
    total, by = len(predictions["cases"]), predictions["by"]
    head = (
        f"Never measured before, nor looked at when the model was made: {', '.join(MODELS)}. The predictions of "
        f"{total} cases were committed beforehand, in `benchmarks/sizing/blind-predictions.json`, on "
        f"{predictions['made']} by the model of commit {by['commit'][:12]}; the table compares with that file."
    )
    if not cases:
        return f"{head}\n\n**Not measured yet.**"
    parts = [head] if len(cases) == total else [head, f"{len(cases)} of {total} cases are measured so far."]
    lines = list(SUMMARY_HEAD)
    bounds = [name for name in cases if bounded(name, results[name])]
    kinds = [(name, [case for case in cases if case not in bounds]) for name in ("axolotl", "unsloth")]
    for trainer, names in (*kinds, ("unsloth", bounds)):
        words = f"{trainer}, rows of unequal length, predicted as if full" if names is bounds else trainer
        chosen = [errors(cases[name], results[name]) for name in names if results[name]["trainer"] == trainer]
        for figure in FIGURES:
            pairs = [found[figure] for found in chosen if figure in found]
            if pairs:
                lines.append(f"| {words} | {figure} | {summary(pairs)} |")
    parts.append("\n".join(lines))
    capped = [(name, case) for name, case in cases.items() if case["expected"]]
    if capped:
        lines = ["| case | cap, GiB | predicted | came |", "|---|---|---|---|"]
        for name, case in capped:
            cap = f"{results[name]['shape']['cap_gib']:.2f}"
            lines.append(f"| {name} | {cap} | {case['expected']} | {outcome(results[name])} |")
        wrong = [name for name, case in capped if case["expected"] == "fits" and outcome(results[name]) == "runs out"]
        fitting = sum(case["expected"] == "fits" for _, case in capped)
        said = f"The other {len(capped)} ran under a cap: of {fitting} that were called fitting {len(wrong)} ran out."
        parts.append(f"{said}\n\n" + "\n".join(lines))
    lines = [f"| case | {' | '.join(FIGURES)} |", f"|{'---|' * (len(FIGURES) + 1)}"]
    for name, case in cases.items():
        came = errors(case, results[name])
        if came:
            cells = [
                f"{m:.2f} / {p:.2f} ({p / m - 1:+.1%})" if m else "-"
                for m, p in (came.get(figure, (0.0, 0.0)) for figure in FIGURES)
            ]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    parts.append("\n".join(lines))
    return "\n\n".join(parts)


def main() -> None:
    if "predict" in sys.argv:
        if read():
            sys.exit(f"{RESULTS} holds measurements: a prediction that is made now would not be blind")
        PREDICTIONS.write_text(json.dumps(predict(), indent=1) + "\n", encoding="utf-8")
    print(section(committed(), read()))
    wrong = [one["model"] for one in jobs() if find_model(one["model"]).name != one["model"]]
    assert not wrong, wrong


if __name__ == "__main__":
    main()
