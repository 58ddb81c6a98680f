"""What the rows are read with: settled by the layers alone, so that they are read once and planned for once."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.planning.decide import method_of
from launcher.planning.request import Request
from launcher.planning.settings import Layers
from launcher.records.decision import Decision


@dataclass(frozen=True)
class Settled:
    """What no row has a say in: the chat template's name, the share that is held out, and by which seed."""

    chat_template: str
    eval_fraction: float
    seed: int


def settle(request: Request) -> Settled:
    """What the person set, else the preset, else the recipe; the chat template else the model's. As `make_plan` does.

    Where the method is still open, QLoRA's recipe speaks: the recipes agree on these (tests/planning/test_settle.py).
    """
    method = Decision("qlora", "planner") if request.auto_method else method_of(request)
    values = Layers(request, method).values
    return Settled(
        chat_template=str(values.get("chat_template") or request.model.chat_template),
        eval_fraction=values["eval_fraction"],
        seed=values["seed"],
    )
