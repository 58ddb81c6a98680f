"""Write README.md beside this file from device_both.json.

python benchmarks/compare/table.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def row(label: str, form: str, values: list[Any]) -> str:
    return f"| {label} | " + " | ".join("–" if value is None else form.format(value) for value in values) + " |"


def main() -> None:
    data = json.loads((HERE / "device_both.json").read_text(encoding="utf-8"))
    runs = [data["runs"][method] for method in ("qlora", "lora")]
    trade, compared = data["comparison"]["trade"], data["comparison"]["runs"]
    plan, device = runs[0]["plan"], runs[0]["devices"][0]["name"]
    versions = runs[0]["versions"]
    stages = [{stage["name"]: stage["seconds"] for stage in run["stages"]} for run in runs]
    steps, backend, length = runs[0]["training"]["steps"], plan["backend"], plan["sequence_len"]
    lines = [
        "# QLoRA against LoRA on a GPU",
        "",
        f"`device_both.py`: `ql launch --method both` on {device}, a Llama of {data['weights']:,} random weights;",
        f"{backend} {versions[backend]}, torch {versions['torch']}, {plan['compute_dtype']}; rows cut at",
        f"{length:,} tokens, {steps} steps of {plan['effective_batch_size']} rows, {trade['prompts']} golden",
        "prompts, no merge. Raw: `device_both.json`.",
        "",
        "| | QLoRA | LoRA |",
        "|---|---|---|",
        row("memory on the device, GiB", "{:.2f}", [run["training"]["device_gib"] for run in runs]),
        row("predicted, GiB", "{:.2f}", [run["estimate"]["peak_gib"] for run in runs]),
        row("reserved by torch, GiB", "{:.2f}", [run["training"]["peak_memory_gib"] for run in runs]),
        row("tokens/s", "{:,.0f}", [run["training"]["tokens_per_second"] for run in runs]),
        row("predicted, tokens/s", "{:,.0f}", [run["estimate"]["tokens_per_second"] for run in runs]),
        row("micro-batch", "{}", [run["plan"]["micro_batch_size"] for run in runs]),
        row("last evaluation loss", "{:.4f}", [run["training"]["best_eval_loss"] for run in runs]),
        row("train stage, s (imports, kernels' compilation and all)", "{:.1f}", [stage["train"] for stage in stages]),
        row("whole run, s", "{:.1f}", [run["seconds"] for run in compared]),
        row("whole run, USD", "{:.3f}", [run["usd"] for run in compared]),
        "",
        f"What `ql` said: {trade['words']}. Take {trade['recommend']}: {trade['why']}.",
        "",
        "The weights are random: the scores say that the golden set was asked, not which method is better.",
    ]
    (HERE / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
