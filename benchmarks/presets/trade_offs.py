"""What each choice costs and gives, as measured: QLoRA or LoRA, float16 or bfloat16, packed rows or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.presets.markdown_table import markdown
from benchmarks.presets.records import find_records, shape_text
from benchmarks.presets.standing import Standing

FUSED = {"axolotl": ["lora", "liger"], "unsloth": []}  # each trainer's fused kernels; Unsloth's have no switch
MethodKey = tuple[str, int, str]  # trainer, rows at a time, method


def method_records(records: list[dict[str, Any]], cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """QLoRA and LoRA on the same shapes: measured here, or in benchmarks/sizing on Llama 2 7B."""
    found = [
        {**case, "kind": "method"}
        for case in cases
        if case["model"] == "llama-2-7b"
        and case["shape"]["sequence_len"] == 2048
        and case["plan"]["gradient_checkpointing"]
        and not case["plan"]["activation_offload"]
        and case["plan"]["compute_dtype"] == "bfloat16"
        and case["plan"]["kernels"] == FUSED[case["trainer"]]
    ]
    return find_records(records, "method") or found


def _by_method(records: list[dict[str, Any]]) -> dict[MethodKey, dict[str, Any]]:
    return {
        (record["trainer"], record["shape"]["micro_batch_size"], record["method"]): record
        for record in find_records(records, "method")
        if record.get("training")
    }


def _pairs(found: dict[MethodKey, dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """QLoRA's and LoRA's record of each shape that both were timed on."""
    timed = {key: record for key, record in found.items() if record.get("tokens_per_second")}
    shapes = sorted({key[:2] for key in timed})
    both = [(timed.get((*shape, "qlora")), timed.get((*shape, "lora"))) for shape in shapes]
    return [(qlora, lora) for qlora, lora in both if qlora and lora]


def _extra_time(qlora: dict[str, Any], lora: dict[str, Any]) -> float:
    """How much longer QLoRA takes, as a share of LoRA's time."""
    ratio: float = lora["tokens_per_second"] / qlora["tokens_per_second"]
    return ratio - 1


def method_table(records: list[dict[str, Any]]) -> str:
    """Memory reserved (GiB) and speed of both methods, a line for each shape."""
    rows = [
        [
            qlora["trainer"],
            shape_text(lora),
            *(f"{side['training']['reserved_gib']:.1f}" for side in (qlora, lora)),
            *(f"{side['tokens_per_second']:,.0f}" for side in (qlora, lora)),
            f"{_extra_time(qlora, lora):+.0%}",
        ]
        for qlora, lora in _pairs(_by_method(records))
    ]
    header = ("trainer", "shape", "QLoRA GiB", "LoRA GiB", "QLoRA tokens/s", "LoRA tokens/s", "QLoRA's time")
    return markdown(header, rows)


def method_claims(records: list[dict[str, Any]], standings: Sequence[Standing]) -> str:
    """The method's own figures beside ours, with the conditions under which each holds."""
    found = _by_method(records)

    def gib(trainer: str, rows: int, method: str) -> str:
        record = found.get((trainer, rows, method))
        return "not measured" if record is None else f"{record['training']['reserved_gib']:.1f} GiB"

    small = f"{gib('axolotl', 2, 'qlora')} with 2 rows of 2,048 tokens, {gib('axolotl', 8, 'qlora')} with 8 (Axolotl)"
    lora = f"{gib('axolotl', 2, 'lora')} with 2 rows, recomputed; 28.6 GiB on the device with one row, activations kept"
    lines = [
        ["QLoRA 7B about 10 GB (9.3 GiB)", f"{small}; {gib('unsloth', 2, 'qlora')} with 2 (Unsloth)"],
        ["FP16 LoRA 7B about 28 GB (26.1 GiB)", f"{lora} (plain transformers and peft)"],
    ]
    large = [(one.measured_gib, one) for one in standings if one.preset.endswith("-70b") and one.measured_gib]
    if large:
        least_gib, least = min(large, key=lambda pair: pair[0])
        plan = least.planned["plan"]
        rows = "one row" if plan["micro_batch_size"] == 1 else f"{plan['micro_batch_size']} rows"
        said = f"{least_gib:.1f} GiB on the device with {rows} of {plan['sequence_len']:,} tokens"
        lines.append(
            ["QLoRA 70B about 46 GB (42.8 GiB)", f"{said} ({least.preset}); 40.7 GiB with one row, plain peft"]
        )
    extra = [_extra_time(*pair) for pair in _pairs(found)]
    if extra:
        lines.append(
            ["QLoRA 30 to 50 % slower than LoRA", f"{min(extra):+.0%} to {max(extra):+.0%} on the shapes above"]
        )
    return markdown(("the method says", "measured on the H200, reserved unless it says otherwise"), lines)


def dtype_table(records: list[dict[str, Any]], cases: list[dict[str, Any]]) -> str:
    """Both dtypes' loss curves; memory and speed of the memory model's cases where no curves were measured."""
    curves = {record["compute_dtype"]: record for record in find_records(records, "dtype") if record.get("curve")}
    if len(curves) < 2:
        return _dtype_pairs(cases)
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


def _dtype_pairs(cases: list[dict[str, Any]]) -> str:
    """The same shape in float16 and bfloat16, from benchmarks/sizing; no curves were measured."""
    rows = []
    for half in cases:
        if half["plan"]["compute_dtype"] != "float16" or not half.get("tokens_per_second"):
            continue
        plan = {**half["plan"], "compute_dtype": "bfloat16"}
        same = [half[key] for key in ("trainer", "model", "shape")]
        brain = next(
            (
                case
                for case in cases
                if case["plan"] == plan and [case[key] for key in ("trainer", "model", "shape")] == same
            ),
            None,
        )
        if brain is not None:
            figures = [f"{one['training']['reserved_gib']:.2f}" for one in (half, brain)]
            figures += [f"{one['tokens_per_second']:,.0f}" for one in (half, brain)]
            rows.append([half["trainer"], half["model"], shape_text(half), *figures])
    if not rows:
        return "Not run."
    header = ("trainer", "model", "shape", "GiB float16", "GiB bfloat16", "tokens/s float16", "tokens/s bfloat16")
    return "Memory and speed, from benchmarks/sizing. Loss curves were not measured.\n\n" + markdown(header, rows)


def packing_table(records: list[dict[str, Any]]) -> str:
    """Memory and speed of packed and padded rows."""
    rows = [
        [
            "packed" if record["plan"]["packing"] else "one row each",
            shape_text(record),
            f"{record['training']['reserved_gib']:.1f}",
            f"{record['tokens_per_second']:,.0f}",
        ]
        for record in find_records(records, "packing")
        if record.get("tokens_per_second")
    ]
    return markdown(("", "shape", "reserved GiB", "tokens of rows per second"), rows) if rows else "Not run."
