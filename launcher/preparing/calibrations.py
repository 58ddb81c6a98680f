"""What `ql calibrate` found on this machine, kept in one small file and used by every estimate for that card."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from launcher.catalog import Gpu, list_gpus, load_gpu
from launcher.errors import Problem, Unreadable
from launcher.files import expand, write_json
from launcher.planning.corrections import PLAUSIBLE, MachineCorrection
from launcher.sizing import Correction

VERSION = 2  # of the file; 1 had ratios to a prediction with the mask that unequal rows need


def calibration_file() -> Path:
    """Where corrections are kept: $QL_CALIBRATION, or calibration.json in ql's folder of the person's settings."""
    named = os.environ.get("QL_CALIBRATION")
    if named:
        return Path(named)
    home = os.environ.get("XDG_CONFIG_HOME") or expand("~/.config")
    return Path(home) / "ql" / "calibration.json"


def corrections_for(gpu: Gpu) -> dict[str, MachineCorrection]:
    """The corrections of this machine for ``gpu``, by trainer; none where `ql calibrate` has not run.

    For a budget, which is no card and cannot be calibrated, those of this machine's card that it is held on. Raises
    Unreadable when the file is there and cannot be used: an estimate must not ignore it in silence.
    """
    found = [(key.split("/", 1)[0], key.split("/", 1)[1], entry) for key, entry in _load().items()]
    if not gpu.is_budget:
        return {trainer: entry for name, trainer, entry in found if name == gpu.name}
    under = sorted((one for one in found if gpu.matches(one[2].device)), key=lambda one: one[2].date)
    return {trainer: _under(gpu, name, entry) for name, trainer, entry in under}


def memory_corrections(gpu: Gpu) -> dict[str, Correction]:
    """What `corrections_for` says of memory alone, which is what a config is checked by."""
    return {trainer: found.memory for trainer, found in corrections_for(gpu).items()}


def _under(budget: Gpu, name: str, correction: MachineCorrection) -> MachineCorrection:
    """The correction of the card ``name`` for ``budget``: its speed only where the budget has that card's rates."""
    card = load_gpu(name) if name in list_gpus() else None
    alike = card is not None and (card.tflops_16bit, card.bandwidth_gbs) == (budget.tflops_16bit, budget.bandwidth_gbs)
    return correction if alike else replace(correction, speed=1.0)


def store_correction(gpu: Gpu, trainer: str, correction: MachineCorrection) -> Path:
    """Keep ``correction``, replacing an earlier one of that card and trainer; the file comes back.

    Raises Unreadable when it cannot be written.
    """
    path = calibration_file()
    entries: dict[str, object] = {key: asdict(found) for key, found in _load().items()}
    entries[f"{gpu.name}/{trainer}"] = asdict(correction)
    _write(path, entries)
    return path


def forget_corrections(gpu: Gpu | None = None) -> int:
    """Drop the corrections of ``gpu``, or all, also of a file that cannot be used; how many there were.

    Raises Unreadable when the file cannot be written, and for ``gpu`` when it cannot be used.
    """
    try:
        entries: dict[str, object] = {key: asdict(found) for key, found in _load().items()}
    except Unreadable:
        if gpu is not None or not calibration_file().is_file():
            raise
        _write(calibration_file(), {})
        return 0
    kept = {key: entry for key, entry in entries.items() if gpu is not None and key.split("/", 1)[0] != gpu.name}
    if len(kept) != len(entries):
        _write(calibration_file(), kept)
    return len(entries) - len(kept)


def _write(path: Path, entries: dict[str, object]) -> None:
    hint = "QL_CALIBRATION=FILE names another place"
    if path.parts[0] == "~":
        raise Unreadable(Problem("there is no home folder here", file=str(path), hint=hint))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"version": VERSION, "corrections": entries})
    except OSError as error:
        raise Unreadable(Problem(f"cannot be written: {error.strerror or error}", file=str(path), hint=hint)) from None


def _load() -> dict[str, MachineCorrection]:
    path = calibration_file()
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise _unusable(path, str(error)) from None
    if not isinstance(data, dict) or data.get("version") != VERSION or not isinstance(data.get("corrections"), dict):
        raise _unusable(path, f"it is not a calibration of version {VERSION}")
    return {key: _entry(path, key, entry) for key, entry in data["corrections"].items()}


def _entry(path: Path, key: str, entry: Any) -> MachineCorrection:
    try:
        memory = Correction(**entry["memory"])
        found = MachineCorrection(**{**entry, "memory": memory})
        numbers = [memory.activations, found.speed]
        if "/" not in key or not all(PLAUSIBLE[0] <= number <= PLAUSIBLE[1] for number in numbers):
            raise ValueError(f"{key}: {numbers}")
        if not all(isinstance(text, str) for text in (found.device, found.model, found.date)):
            raise ValueError(f"{key}: device, model and date are texts")
        if memory.context_gib is not None and not 0 <= memory.context_gib <= 16:
            raise ValueError(f"{key}: context of {memory.context_gib} GiB")
    except (TypeError, KeyError, ValueError) as error:
        raise _unusable(path, str(error)) from None
    return found


def _unusable(path: Path, why: str) -> Unreadable:
    hint = "`ql calibrate --forget` drops it; then run `ql calibrate` again"
    return Unreadable(Problem(f"cannot be used: {why}", file=str(path), hint=hint))
