"""Where templates/, schemas/ and presets/ are: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


@cache
def resource(*parts: str) -> Path:
    """The path of a shipped file or folder, such as ``resource("schemas", "gpu.json")``.

    Raises FileNotFoundError when the installation is incomplete.
    """
    for root in (PACKAGE / "_data", PACKAGE.parent):
        candidate = root.joinpath(*parts)
        if candidate.exists():
            return candidate
    raise FileNotFoundError(f"ql's own file {'/'.join(parts)} is missing: reinstall ql")


@cache
def trainer_names() -> tuple[str, ...]:
    """The names of the rooms in launcher/trainers/, sorted: a trainer is known by its folder and listed nowhere."""
    return tuple(sorted(path.parent.name for path in (PACKAGE / "trainers").glob("*/describe.py")))
