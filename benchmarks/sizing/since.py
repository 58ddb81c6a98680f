"""What the memory model of today says of the blind test's cases; the test itself compares with what it said beforehand.

What was learned from the blind test is in the model by now, so these residuals are no test of it: they show that the
errors found are mended, and on what the model rests.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.sizing.blind import FIGURES, SUMMARY_HEAD, bounded, summary
from benchmarks.sizing.residuals import measured, predicted, request_of
from launcher.sizing import estimate_memory

LEARNED = Path(__file__).resolve().parent / "learned.md"


def residuals(raw: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Figure: (measured, predicted by the model as it is), GiB; nothing for a case that ran out of memory."""
    if "out_of_memory" in raw:
        return {}
    request = request_of(_with_evaluation(raw))
    said, found = predicted(request, estimate_memory(request)), measured(raw)
    return {figure: (found[figure], said[figure]) for figure in FIGURES if figure in found}


def called_fitting(raw: dict[str, Any]) -> bool:
    """Whether the model says that the case's training fits the cap that it ran under."""
    estimate = estimate_memory(request_of(_with_evaluation(raw)))
    return bool(estimate.reserved_gib <= raw["shape"]["cap_gib"])


def _with_evaluation(raw: dict[str, Any]) -> dict[str, Any]:
    """A case that evaluated nothing, with the batch that it would have evaluated: the request wants one."""
    rows = raw["shape"].get("eval_rows") or raw["shape"]["micro_batch_size"]
    return {**raw, "evaluation": raw.get("evaluation") or {"rows": rows}}


def section(results: dict[str, dict[str, Any]]) -> str:
    """The part of docs/memory.md on what the model says by now, "" where nothing was measured."""
    plain = {name: raw for name, raw in results.items() if not raw["shape"].get("expected") and not bounded(name, raw)}
    if not plain:
        return ""
    lines = list(SUMMARY_HEAD)
    for trainer in ("axolotl", "unsloth"):
        found = [residuals(raw) for raw in plain.values() if raw["trainer"] == trainer]
        for figure in FIGURES:
            if pairs := [one[figure] for one in found if figure in one]:
                lines.append(f"| {trainer} | {figure} | {summary(pairs)} |")
    capped = {name: raw for name, raw in results.items() if raw["shape"].get("expected")}
    wrong = [name for name, raw in capped.items() if called_fitting(raw) and "out_of_memory" in raw]
    caps = f"Of the {len(capped)} cases under a cap, {len(wrong)} that it calls fitting ran out."
    return "\n\n".join([LEARNED.read_text(encoding="utf-8").strip(), "\n".join(lines), caps])
