"""What `ql init` proposes: the card of this machine, a preset for it and the data, with the estimate."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from launcher.catalog import Gpu, find_gpu, list_presets, load_gpu, load_preset
from launcher.data.facts import DataFacts
from launcher.errors import BadInput, Problem, Unreadable
from launcher.planning.forecast import Forecast, plan_and_forecast
from launcher.preparing.request import make_request

CPU = "cpu"
NO_CARD = "the CPU, which trains the built-in tiny model"


@dataclass(frozen=True)
class Card:
    """The card to plan for and how it was found; ``gpu`` is None where a card was found that the catalog lacks."""

    gpu: Gpu | None
    why: str


def find_card() -> Card:
    """The first card that nvidia-smi names, or the CPU where there is none. Nothing of CUDA is loaded for it."""
    executable = shutil.which("nvidia-smi")
    if executable is None:
        return Card(load_gpu(CPU), f"no NVIDIA driver here: {NO_CARD}")
    argv = [executable, "--query-gpu=name", "--format=csv,noheader"]
    try:
        said = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        said = ""
    names = [line.strip() for line in said.splitlines() if line.strip()]
    if not names:
        return Card(load_gpu(CPU), f"nvidia-smi finds no card: {NO_CARD}")
    more = f" (the first of {len(names)}; a run uses one)" if len(names) > 1 else ""
    return Card(find_gpu(names[0]), f"{names[0]}, found by nvidia-smi{more}")


def candidates(
    gpu: Gpu, data: DataFacts, *, backend: str | None, usd_per_hour: float | None, golden_rows: int = 0
) -> list[Forecast]:
    """What each preset of a card would need for this data, the smallest model first."""
    found = []
    for name in list_presets():
        if load_preset(name).gpu == gpu.name:
            request = make_request(preset=name, backend=backend, data=data)
            one = plan_and_forecast(request, usd_per_hour=usd_per_hour, golden_rows=golden_rows)
            found.append((request.model.parameters, one))
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]


def choose(found: list[Forecast]) -> Forecast:
    """The smallest model that fits: the one to start with, since a larger one costs more at each try.

    Raises BadInput when none fits, Unreadable when there is none at all.
    """
    if not found:
        raise Unreadable("this card has no preset", hint="name a model as well, with --model: `ql presets` shows some")
    fitting = [one for one in found if one.memory.fits]
    if not fitting:
        raise BadInput(
            "no preset of this card fits this data", hint="`ql estimate --compare` puts the cards side by side"
        )
    return fitting[0]


def write_new(path: Path, text: str) -> None:
    """Write the file, never over another. Raises Unreadable when there is one, or it cannot be written."""
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        problem = Problem("exists already: not overwritten", str(path), hint="name another with --out")
        raise Unreadable(problem) from None
    except OSError as error:
        raise Unreadable(Problem(f"cannot be written: {error.strerror or error}", str(path))) from None
