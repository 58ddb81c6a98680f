"""What was measured, as the pages read it: the records of prove.py, and those of benchmarks/sizing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SIZING = Path(__file__).resolve().parent.parent / "sizing"


def load(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]:
    """All records, the presets' plans and predictions, and the calibration; {} where none was brought back."""
    lines = (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines if line.strip()]
    presets = json.loads((folder / "presets.json").read_text(encoding="utf-8"))
    calibration = folder / "calibrate.json"
    return records, presets, json.loads(calibration.read_text(encoding="utf-8")) if calibration.is_file() else {}


def sizing_records() -> list[dict[str, Any]]:
    """The cases of benchmarks/sizing that trained whole models of known shape."""
    found = []
    for path in sorted(SIZING.rglob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(record, dict) and record.get("training") and "shape" in record and "layers" not in record:
            found.append(record)
    return found


def find_records(records: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The records of one kind of job: preset, example, method, dtype, packing."""
    return [record for record in records if record.get("kind") == kind]


def shape_text(record: dict[str, Any]) -> str:
    """Rows at a time and tokens of each, as in "4 x 2048"."""
    return f"{record['shape']['micro_batch_size']} x {record['shape']['sequence_len']}"


def measured_gib(record: dict[str, Any], outside: float) -> float | None:
    """GiB on the device at the peak of training, evaluation or both: reserved, and what lies outside the allocator."""
    peaks = [record.get("training"), record.get("evaluation")]
    reserved = [peak["reserved_gib"] for peak in peaks if peak]
    return max(reserved) + outside if reserved else None
