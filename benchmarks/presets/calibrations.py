"""The presets of a card on that very card, as `ql calibrate` measured them, beside what the model of today predicts."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.presets.markdown_table import markdown  # noqa: E402
from launcher.planning.decide import make_plan  # noqa: E402
from launcher.planning.estimate import memory_request, plan_speed  # noqa: E402
from launcher.preparing.request import make_request  # noqa: E402
from launcher.sizing import estimate_memory  # noqa: E402

FIGURES = {
    "reserved_gib": ("reserved, GiB", ".2f"),
    "device_gib": ("device, GiB", ".2f"),
    "tokens_per_second": ("tokens/s", ",.0f"),
}


def ended_cases(calibration: dict[str, Any]) -> list[dict[str, Any]]:
    """The cases that calibrate.py brought to their end."""
    return [case for case in calibration.get("cases", ()) if case["calibration"].get("exit_code") == 0]


def speed_errors(calibration: dict[str, Any]) -> str:
    """How far tokens per second are off on the card of the calibrations, which the speed model was not fitted to."""
    ended = ended_cases(calibration)
    if not ended:
        return "Not measured."
    errors: dict[str, list[float]] = {key: [] for key in FIGURES}
    for case in ended:
        _row(case, errors)
    speeds = errors["tokens_per_second"]
    device = ended[0]["calibration"]["facts"]["device"]
    return (
        f"{len(speeds)} presets by `ql calibrate` on an {device}, timed alone: mean absolute error "
        f"{_mean(speeds):.1%}, from {min(speeds):+.1%} to {max(speeds):+.1%}. "
        "[The table](presets.md#on-a-card-of-its-own)."
    )


def calibration_section(calibration: dict[str, Any]) -> str:
    """What calibrate.py wrote, as a table with a line for each preset, and the mean errors."""
    ended = ended_cases(calibration)
    if not ended:
        return "Not run."
    device = ended[0]["calibration"]["facts"]["device"]
    versions = ", ".join(f"{name} {version}" for name, version in calibration["versions"].items())
    head = (
        f"`ql calibrate --preset NAME` on an {device} ({versions}): the presets of this very card, under no cap, with "
        "the card to themselves. Random weights stored in 4 bit, rows of full length; training alone, no evaluation. "
        "The speed model was fitted on an H200."
    )
    header = ("preset", "trainer", "shape", *(f"{name}: predicted / measured" for name, _ in FIGURES.values()))
    errors: dict[str, list[float]] = {key: [] for key in FIGURES}
    rows = [_row(case, errors) for case in ended]
    means = [f"{name} {_mean(errors[key]):.1%}" for key, (name, _) in FIGURES.items() if errors[key]]
    said = f"Mean absolute error over {len(rows)} presets: {'; '.join(means)}."
    return f"{head}\n\n{markdown(header, rows)}\n\n{said}"


def _mean(errors: list[float]) -> float:
    return sum(map(abs, errors)) / len(errors)


def predicted(preset: str, backend: str) -> dict[str, Any]:
    """The shape that ``preset`` is planned with, and as calibrate.py ran it: memory in GiB, and tokens per second."""
    request = replace(make_request(preset=preset, backend=backend), corrections={})
    plan = make_plan(request)
    memory = estimate_memory(replace(memory_request(plan.to_dict(), request), equal_rows=True, prequantized=True))
    return {
        "micro_batch_size": plan.micro_batch_size,
        "gradient_checkpointing": plan.gradient_checkpointing,
        "reserved_gib": memory.reserved_gib,
        "device_gib": memory.peak_gib,
        "tokens_per_second": plan_speed(plan, request),
    }


def _row(case: dict[str, Any], errors: dict[str, list[float]]) -> list[str]:
    facts = case["calibration"]["facts"]
    plan, measured = facts["plan"], facts["measured"]
    today = predicted(case["preset"], plan["backend"])
    if any(today[key] != plan[key] for key in ("micro_batch_size", "gradient_checkpointing")):
        today = facts["predicted"]  # planned otherwise since
    mode = "offload" if plan["activation_offload"] else "recompute" if plan["gradient_checkpointing"] else "keep"
    cells = [case["preset"], plan["backend"], f"{plan['micro_batch_size']} x {plan['sequence_len']}, {mode}"]
    for key, (_, form) in FIGURES.items():
        if today[key] is None or measured[key] is None:
            cells.append("-")
            continue
        error = today[key] / measured[key] - 1
        errors[key].append(error)
        cells.append(f"{today[key]:{form}} / {measured[key]:{form}} ({error:+.1%})")
    return cells
