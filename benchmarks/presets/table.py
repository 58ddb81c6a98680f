"""docs/presets.md from what prove.py measured: presets under caps, the method, dtypes, packing, the calibration.

python benchmarks/presets/table.py benchmarks/presets/results
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
GB = 1e9 / 2**30  # GiB in a vendor's GB
ENOUGH, TARGET = 0.85, 1.3  # of the budget; times as fast as the example settings


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


JOB_KEYS = ("model", "method", "compute_dtype", "gradient_checkpointing", "activation_offload")


def load(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]:
    """All records, the presets' plans and predictions, and the calibration; a missing file is empty."""
    lines = (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines if line.strip()]
    presets = json.loads((folder / "presets.json").read_text(encoding="utf-8"))
    calibration = folder / "calibrate.json"
    return records, presets, json.loads(calibration.read_text(encoding="utf-8")) if calibration.is_file() else {}


def measured_gib(record: dict[str, Any], outside: float) -> float | None:
    """GiB on the device at the peak of training, evaluation or both: reserved, and what lies outside the allocator."""
    peaks = [record.get("training"), record.get("evaluation")]
    reserved = [peak["reserved_gib"] for peak in peaks if peak]
    return max(reserved) + outside if reserved else None


def find_records(records: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [record for record in records if record.get("kind") == kind]


def sizing_records() -> list[dict[str, Any]]:
    """What benchmarks/sizing measured: a case that takes more than a preset, and stays under its cap, covers it."""
    found = []
    for path in sorted((ROOT / "benchmarks" / "sizing").rglob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(record, dict) and record.get("training") and "shape" in record and "layers" not in record:
            found.append(record)
    return found


def covers(case: dict[str, Any], planned: dict[str, Any]) -> bool:
    """Whether ``case`` ran the preset's job with at least as many tokens, trained and evaluated, within its budget."""
    plan = planned["plan"]
    same = ("method", "kernels", "gradient_checkpointing", "activation_offload", "packing", "lora_r", "optimizer")
    if case["trainer"] != plan["backend"] or case["model"] != plan["model"] or "out_of_memory" in case:
        return False
    if any(case["plan"][key] != plan[key] for key in same) or not case.get("evaluation"):
        return False
    shape, length = case["shape"], plan["sequence_len"]
    trained = shape["micro_batch_size"] * shape["sequence_len"] >= plan["micro_batch_size"] * length
    evaluated = case["evaluation"]["rows"] * shape["sequence_len"] >= plan["eval_batch_size"] * length
    reserved = max(case["training"]["reserved_gib"], case["evaluation"]["reserved_gib"])
    outside = planned["usable_gib"] - planned["cap_gib"]
    return trained and evaluated and reserved + outside <= planned["budget_gib"]


def of_preset(records: list[dict[str, Any]], name: str, plan: dict[str, Any], rows: str) -> dict[str, Any] | None:
    """The newest record of the preset as it is planned now; one that failed only where there is no other."""
    job = {"trainer": "backend"} | {key: key for key in JOB_KEYS}
    found = [
        record
        for record in find_records(records, "preset")
        if name in record["shape"].get("presets", ())
        and record["shape"].get("rows") == rows
        and all(record["shape"][key] == plan[key] for key in ("micro_batch_size", "sequence_len"))
        and all(record[key] == plan[of] for key, of in job.items() if key in record and of in plan)
    ]
    return max(found, key=lambda record: ("error" not in record, record.get("at", 0.0)), default=None)


def preset_row(
    name: str, planned: dict[str, Any], records: list[dict[str, Any]], cases: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """One preset's figures; ``why`` says what is missing or not reached."""
    plan = planned["plan"]
    record, padded = (of_preset(records, name, plan, rows) for rows in ("full", "ragged"))
    examples = [
        r
        for r in find_records(records, "example")
        if r["model"] == plan["model"] and r["trainer"] == plan["backend"] and r.get("tokens_per_second")
    ]
    examples.sort(key=lambda r: -r.get("at", 0.0))
    examples.sort(key=lambda r: r.get("plan", {}).get("compute_dtype") != plan.get("compute_dtype"))
    example = examples[0] if examples else None
    outside = planned["usable_gib"] - planned["cap_gib"]
    row: dict[str, Any] = {"preset": name, "planned": planned, "record": record, "why": []}
    row["proven"] = False
    case = next((case for case in cases if covers(case, planned)), None) if record is None else None
    if case is not None:
        shape = f"{case['shape']['micro_batch_size']} x {case['shape']['sequence_len']}"
        row["measured"], row["allocated"] = measured_gib(case, outside), case["training"]["allocated_gib"]
        row["used"], row["proven"] = row["measured"] / planned["budget_gib"], True
        row["why"].append(f"covered by {shape} in benchmarks/sizing, which takes no less")
        if row["used"] < ENOUGH:
            row["why"].append(plan["reasons"]["micro_batch_size"])
        return row
    if record is None or "error" in record or not record.get("training"):
        row["why"].append("not run" if record is None else record.get("error", "no figures"))
        return row
    if "out_of_memory" in record:
        row["why"].append("ran out of memory under the cap")
        return row
    row["measured"] = measured_gib(record, outside)
    row["allocated"] = record["training"]["allocated_gib"]
    row["proven"] = row["measured"] is not None and record["shape"]["cap_gib"] <= planned["cap_gib"] + 1e-3
    row["used"] = row["measured"] / planned["budget_gib"]
    row["speed"] = record["tokens_per_second"]
    if example is not None:
        row["example"] = example["tokens_per_second"]
        row["ratio"] = row["speed"] / row["example"]
        example_gib = measured_gib(example, outside)
        row["example_fits"] = example_gib is not None and example_gib <= planned["usable_gib"]
        if not row["example_fits"]:
            row["why"].append(f"the example needs {example_gib:.1f} GiB: it does not fit this card")
    if padded is not None and "out_of_memory" in padded:
        row["why"].append("ran out of memory under the cap with padded rows")
        row["proven"] = False
    elif padded is not None and "error" not in padded and padded["shape"]["cap_gib"] <= planned["cap_gib"] + 1e-3:
        row["padded"] = measured_gib(padded, outside)
        row["used"] = max(row["measured"], row["padded"]) / planned["budget_gib"]
    elif plan["micro_batch_size"] > 1:
        row["why"].append(f"full rows; padded ones are predicted to take {planned['peak_gib']:.1f} GiB")
    if row["used"] < ENOUGH:
        row["why"].append(plan["reasons"]["micro_batch_size"])
    if row.get("ratio", TARGET) < TARGET and row.get("example_fits", True):
        row["why"].append(slow_reason(planned))
    return row


def slow_reason(planned: dict[str, Any]) -> str:
    """Why a preset is not much faster here than the example settings, and what is predicted for its own card."""
    plan = planned["plan"]
    rows = plan["micro_batch_size"]
    here = f"with {rows} row{'s' if rows > 1 else ''} at a time"
    here = "activations are recomputed in both:" if plan["gradient_checkpointing"] else here
    gain = planned.get("gain_on_its_card")
    there = "" if gain is None else f"; on its own card {gain:.2f} times as fast is predicted"
    return f"{here} this GPU waits for its host to start kernels{there}"


def timing(records: list[dict[str, Any]]) -> str:
    """What else went on while speeds were measured."""
    timed = [
        record
        for kind in ("preset", "example")
        for record in find_records(records, kind)
        if record.get("tokens_per_second") and record["shape"].get("rows") == "full"
    ]
    beside = sum(not record.get("alone") for record in timed)
    if not beside:
        return "Every other job on the machine was stopped while a shape was timed."
    return f"{beside} of {len(timed)} shapes were timed while other jobs loaded: their speeds are rough."


def presets_table(rows: list[dict[str, Any]]) -> str:
    header = (
        "preset", "trainer", "shape", "budget", "predicted", "measured", "padded", "used", "allocated", "tokens/s",
        "example", "times", "predicted on its card", "note",
    )  # fmt: skip
    out = []
    for row in rows:
        planned = row["planned"]
        plan = planned["plan"]
        mode = "offload" if plan["activation_offload"] else "recompute" if plan["gradient_checkpointing"] else "keep"
        shape = f"{plan['micro_batch_size']} x {plan['sequence_len']}, {mode}"
        needed = max(planned["peak_gib"], planned["evaluation_gib"])
        cells = [row["preset"], plan["backend"], shape, f"{planned['budget_gib']:.1f}", f"{needed:.1f}"]
        if not row.get("measured"):
            cells += ["-"] * 7
        else:
            example = "-" if "example" not in row else f"{row['example']:,.0f}"
            speed = "-" if "speed" not in row else f"{row['speed']:,.0f}"
            ratio = "-" if "ratio" not in row else f"{row['ratio']:.2f}"
            padded = f"{row['padded']:.1f}" if row.get("padded") else "-"
            cells += [f"{row['measured']:.1f}", padded, f"{row['used']:.0%}", f"{row['allocated']:.1f}"]
            cells += [speed, example, ratio]
        gain = planned.get("gain_on_its_card")
        out.append([*cells, "-" if gain is None else f"{gain:.2f}", "; ".join(row["why"])])
    return markdown(header, out)


def method_records(records: list[dict[str, Any]], cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """QLoRA and LoRA on the same shapes: measured here, or in benchmarks/sizing on Llama 2 7B."""
    fused = {"axolotl": ["lora", "liger"], "unsloth": []}
    found = [
        {**case, "kind": "method"}
        for case in cases
        if case["model"] == "llama-2-7b"
        and case["shape"]["sequence_len"] == 2048
        and case["plan"]["gradient_checkpointing"]
        and not case["plan"]["activation_offload"]
        and case["plan"]["compute_dtype"] == "bfloat16"
        and case["plan"]["kernels"] == fused[case["trainer"]]
    ]
    return find_records(records, "method") or found


def method_table(records: list[dict[str, Any]]) -> str:
    found = {
        (r["trainer"], r["shape"]["micro_batch_size"], r["method"]): r
        for r in find_records(records, "method")
        if r.get("training") and r.get("tokens_per_second")
    }
    rows = []
    for trainer, size in sorted({key[:2] for key in found}):
        lora, qlora = found.get((trainer, size, "lora")), found.get((trainer, size, "qlora"))
        if not lora or not qlora:
            continue
        ratio = lora["tokens_per_second"] / qlora["tokens_per_second"]
        rows.append(
            [
                trainer,
                f"{size} x {lora['shape']['sequence_len']}",
                *(f"{r['training']['reserved_gib']:.1f}" for r in (qlora, lora)),
                *(f"{r['tokens_per_second']:,.0f}" for r in (qlora, lora)),
                f"{ratio - 1:+.0%}",
            ]
        )
    header = ("trainer", "shape", "QLoRA GiB", "LoRA GiB", "QLoRA tokens/s", "LoRA tokens/s", "QLoRA's time")
    return markdown(header, rows)


def dtype_pairs(cases: list[dict[str, Any]]) -> str:
    """The same shape in float16 and bfloat16, from benchmarks/sizing; no curves were measured."""
    halves = [case for case in cases if case["plan"]["compute_dtype"] == "float16" and case.get("tokens_per_second")]
    rows = []
    for half in halves:
        same = {**half["plan"], "compute_dtype": "bfloat16"}
        brain = next(
            (
                case
                for case in cases
                if case["plan"] == same
                and (case["trainer"], case["model"], case["shape"]) == (half["trainer"], half["model"], half["shape"])
            ),
            None,
        )
        if brain is not None:
            shape = f"{half['shape']['micro_batch_size']} x {half['shape']['sequence_len']}"
            figures = [f"{one['training']['reserved_gib']:.2f}" for one in (half, brain)]
            figures += [f"{one['tokens_per_second']:,.0f}" for one in (half, brain)]
            rows.append([half["trainer"], half["model"], shape, *figures])
    if not rows:
        return "Not run."
    header = ("trainer", "model", "shape", "GiB float16", "GiB bfloat16", "tokens/s float16", "tokens/s bfloat16")
    return "Memory and speed, from benchmarks/sizing. Loss curves were not measured.\n\n" + markdown(header, rows)


def dtype_table(records: list[dict[str, Any]], cases: list[dict[str, Any]]) -> str:
    curves = {r["compute_dtype"]: r for r in find_records(records, "dtype") if r.get("curve")}
    if len(curves) < 2:
        return dtype_pairs(cases)
    half, brain = curves["float16"], curves["bfloat16"]
    pairs = list(zip(half["curve"], brain["curve"], strict=False))
    shown = [pair for index, pair in enumerate(pairs, start=1) if index == 1 or index % 10 == 0]
    rows = [
        [str(a["step"]), *(f"{side[key]:.3f}" for key in ("loss", "grad_norm") for side in (a, b))] for a, b in shown
    ]
    text = markdown(("step", "loss float16", "loss bfloat16", "gradient norm float16", "bfloat16"), rows)
    apart = max(abs(a["loss"] - b["loss"]) for a, b in pairs)
    skipped = half["curve"][-1].get("skipped_steps", 0)
    return (
        f"{text}\n\nOver {len(pairs)} steps the losses are at most {apart:.3f} apart. Steps that the loss scaler "
        f"skipped in float16: {skipped}. Speed: {half['tokens_per_second']:,.0f} tokens/s in float16, "
        f"{brain['tokens_per_second']:,.0f} in bfloat16."
    )


def packing_table(records: list[dict[str, Any]]) -> str:
    rows = [
        [
            "packed" if r["plan"]["packing"] else "one row each",
            f"{r['shape']['micro_batch_size']} x {r['shape']['sequence_len']}",
            f"{r['training']['reserved_gib']:.1f}",
            f"{r['tokens_per_second']:,.0f}",
        ]
        for r in find_records(records, "packing")
        if r.get("tokens_per_second")
    ]
    return markdown(("", "shape", "reserved GiB", "tokens of rows per second"), rows) if rows else "Not run."


def calibration_table(calibration: dict[str, Any]) -> str:
    facts = calibration.get("calibration", {}).get("facts")
    if not facts or "measured" not in facts:
        return "Not run."
    rows = []
    names = {"reserved_gib": "reserved, GiB", "device_gib": "device, GiB", "tokens_per_second": "tokens/s"}
    for key, name in names.items():
        before, measured, after = (facts[side][key] for side in ("predicted", "measured", "predicted_after"))
        if measured is None or before is None or (key == "tokens_per_second" and "shared" in calibration):
            continue
        errors = [f"{side / measured - 1:+.1%}" for side in (before, after)]
        rows.append([name, f"{before:,.2f}", f"{measured:,.2f}", errors[0], f"{after:,.2f}", errors[1]])
    plan = facts["plan"]
    head = (
        f"`ql calibrate --gpu {facts['gpu']}` on {facts['device']}: {plan['method']} with {plan['backend']}, "
        f"{plan['micro_batch_size']} x {plan['sequence_len']} tokens, "
        f"{calibration['calibration']['seconds']:.0f} s in all."
    )
    if "shared" in calibration:
        head += f" Here {calibration['shared']}."
    return head + "\n\n" + markdown(("", "predicted", "measured", "error", "predicted after", "error after"), rows)


def method_claims(records: list[dict[str, Any]], rows: list[dict[str, Any]]) -> str:
    """The method's own figures beside ours, with the conditions under which each holds."""
    lines = []
    pairs = {
        (r["trainer"], r["shape"]["micro_batch_size"], r["method"]): r
        for r in find_records(records, "method")
        if r.get("training")
    }

    def gib(trainer: str, size: int, method: str) -> str:
        record = pairs.get((trainer, size, method))
        return "not measured" if record is None else f"{record['training']['reserved_gib']:.1f} GiB"

    small = f"{gib('axolotl', 2, 'qlora')} with 2 rows of 2,048 tokens, {gib('axolotl', 8, 'qlora')} with 8 (Axolotl)"
    lines.append(["QLoRA 7B about 10 GB (9.3 GiB)", f"{small}; {gib('unsloth', 2, 'qlora')} with 2 (Unsloth)"])
    lora = f"{gib('axolotl', 2, 'lora')} with 2 rows, recomputed; 28.6 GiB on the device with one row, activations kept"
    lines.append(["FP16 LoRA 7B about 28 GB (26.1 GiB)", f"{lora} (plain transformers and peft)"])
    large = [row for row in rows if row["preset"].endswith("-70b") and row.get("measured")]
    if large:
        least = min(large, key=lambda row: row["measured"])
        plan = least["planned"]["plan"]
        said = (
            f"{least['measured']:.1f} GiB on the device with {plan['micro_batch_size']} rows of {plan['sequence_len']}"
        )
        lines.append(
            ["QLoRA 70B about 46 GB (42.8 GiB)", f"{said} ({least['preset']}); 40.7 GiB with one row, plain peft"]
        )
    times = [
        pairs[(trainer, size, "lora")]["tokens_per_second"] / pairs[(trainer, size, "qlora")]["tokens_per_second"] - 1
        for trainer, size, method in pairs
        if method == "lora" and (trainer, size, "qlora") in pairs
    ]
    if times:
        lines.append(
            ["QLoRA 30 to 50 % slower than LoRA", f"{min(times):+.0%} to {max(times):+.0%} on the shapes above"]
        )
    return markdown(("the method says", "measured on the H200, reserved unless it says otherwise"), lines)


def page(folder: Path) -> str:
    records, presets, calibration = load(folder)
    sized = sizing_records()
    rows = [preset_row(name, planned, records, sized) for name, planned in sorted(presets.items())]
    methods = method_records(records, sized)
    bases = sorted({record["model"] for record in methods})
    proven = [row for row in rows if row["proven"]]
    used = [row for row in proven if row["used"] >= ENOUGH]
    timed = [row for row in proven if "ratio" in row]
    fast = [row for row in timed if row["ratio"] >= TARGET or not row["example_fits"]]
    failed = [row["preset"] for row in rows if any("ran out of memory" in why for why in row["why"])]
    over = [row["measured"] / row["planned"]["peak_gib"] - 1 for row in proven if row.get("record")]
    verdict = f"{len(failed)} ran out of memory" + (f" ({', '.join(failed)})" if failed else "")
    if over:
        verdict += f"; what was measured is {min(over):+.0%} to {max(over):+.0%} of the prediction"
    device = next((r["device"]["name"] for r in records if "device" in r), "a GPU")
    versions = next((r["versions"] for r in records if "versions" in r), {})
    said = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"""# The named presets under their cards' memory

Made by `benchmarks/presets/table.py` from the JSON in `benchmarks/presets/results`; do not edit. Measured on one
{device} ({said}), random weights of the real shape, full rows. GiB = 2^30 bytes.

Each preset ran under a cap equal to what its card gives, less CUDA context and paged optimizer state. **A capped
{device} proves memory: it is neither an A10G's speed nor its kernels.** Speeds are the {device}'s; they compare
settings, not cards. "Measured" is what was reserved, evaluation included, and the same context and paged state on top;
"example" is the trainer's own example settings (micro-batch 2, recomputation, the kernels that it switches on itself).
Rows were full, and "padded" is the same with rows of unequal length: in a micro-batch of several of them an attention
mask takes memory too, which the prediction includes, so with full rows it is above the measurement. Budget, prediction
and "used" hold for both. {timing(records)}

{len(proven)} of {len(rows)} presets are proven; the others were not run, or fell short as their note says.
{verdict}. {len(used)} use at least {ENOUGH:.0%} of their budget. Of {len(timed)} that an
example was measured for, {len(fast)} are at least {TARGET} times as fast, or run where the example does not fit.

{presets_table(rows)}

## QLoRA against LoRA

The same shapes of {", ".join(bases)}, bfloat16, activations recomputed, each trainer's fused kernels. "QLoRA's
time" is against LoRA's on the same shape.

{method_table(methods)}

{method_claims(methods, rows)}

## float16 against bfloat16

{dtype_table(records, sized)}

## Packing

Mistral 7B, QLoRA with Axolotl, log-normal rows of about 200 words, through the trainer's own sampler.

{packing_table(records)}

## A calibration

{calibration_table(calibration)}
"""


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "benchmarks" / "presets" / "results"
    (ROOT / "docs" / "presets.md").write_text(page(folder), encoding="utf-8")


if __name__ == "__main__":
    main()
