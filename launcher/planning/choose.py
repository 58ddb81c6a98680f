"""`auto`: the trainer that fits and is fastest, and the method by the house rule; each with what the other would be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from launcher.errors import BadInput
from launcher.planning.estimate import estimate_plan_memory, plan_speed
from launcher.planning.plan import Plan
from launcher.planning.request import Request
from launcher.records.decision import Decision
from launcher.sizing import MemoryEstimate
from launcher.trainers import get_trainer, trainer_names


@dataclass(frozen=True)
class Candidate:
    """A plan with its peak memory and speed (tokens of rows per second)."""

    plan: Plan
    memory: MemoryEstimate
    speed: float | None

    def describe(self) -> str:
        memory = f"{self.memory.needed_gib:.1f} GiB" + ("" if self.memory.fits else ", does not fit")
        return memory if self.speed is None else f"{memory}, {self.speed:,.0f} tokens/s"

    def cuts_more_than(self, other: Candidate) -> bool:
        """Whether its sequences are shorter: then it fits at the price of rows that the other keeps whole."""
        return self.plan.sequence_len < other.plan.sequence_len


def choose_backend(request: Request, make: Callable[[Request], Plan]) -> Plan:
    """The plan of the trainer that fits and is fastest; where none fits, of the one that comes nearest.

    One that fits only with shorter rows is no match for one that does not have to cut them.

    Raises BadInput, with every trainer's reasons, when none can take the job.
    """
    found: list[Candidate] = []
    refused: dict[str, BadInput] = {}
    for name in trainer_names():
        asked = replace(request, auto_backend=False, overrides={**request.overrides, "backend": name})
        try:
            plan = make(asked)
        except BadInput as error:
            refused[name] = error
            continue
        found.append(Candidate(plan, estimate_plan_memory(plan, asked), plan_speed(plan, asked)))
    if not found:
        problems = [problem for error in refused.values() for problem in error.problems]
        raise BadInput(list(dict.fromkeys(problems)))
    best = max(
        found,
        key=lambda one: (one.memory.fits, one.plan.sequence_len, one.speed or 0.0, -one.memory.needed_gib),
    )
    told = [f"{get_trainer(one.plan.backend).title} {one.describe()}" for one in found if one is not best]
    told += [f"{get_trainer(name).title} cannot: {error.problems[0].message}" for name, error in refused.items()]
    why = "the faster one that fits" if best.memory.fits else "none fits; it comes nearest"
    if best.speed is None and best.memory.fits:
        why = "it fits in less memory; no speed is known for this card"
    if len(found) == 1:
        why = "the only one that can"
    elif best.memory.fits and not all(one.memory.fits for one in found):
        why = "the only one that fits"
    elif best.memory.fits and any(one.cuts_more_than(best) for one in found):
        why = f"the only one that fits rows of {best.plan.sequence_len} tokens"
    return _because(best.plan, "backend", f"auto: {why} ({best.describe()}; {'; '.join(told)})")


def choose_method(request: Request, make: Callable[[Request, Decision], Plan]) -> Plan:
    """The house rule: LoRA on 16-bit weights where it fits the card, QLoRA where it would not."""
    qlora = make(request, Decision("qlora", "planner"))
    other = Candidate(qlora, estimate_plan_memory(qlora, request), plan_speed(qlora, request))
    try:
        lora = make(request, Decision("lora", "planner"))
    except BadInput as error:
        return _because(qlora, "method", f"16-bit LoRA is refused: {error.problems[0].message}")
    asked = Candidate(lora, estimate_plan_memory(lora, request), plan_speed(lora, request))
    if asked.memory.fits and other.memory.fits and asked.cuts_more_than(other):
        why = (
            f"house rule: 16-bit LoRA fits only with rows cut at {lora.sequence_len} tokens; QLoRA keeps "
            f"{qlora.sequence_len} ({other.describe()})"
        )
        return _because(qlora, "method", why)
    if asked.memory.fits:
        why = f"house rule: 16-bit LoRA fits ({asked.describe()}; QLoRA {other.describe()})"
        return _because(lora, "method", why)
    needed, budget = asked.memory.needed_gib, asked.memory.budget_gib
    why = f"house rule: 16-bit LoRA would need {needed:.1f} GiB of {budget:.1f} GiB; QLoRA {other.describe()}"
    return _because(qlora, "method", why)


def _because(plan: Plan, setting: str, why: str) -> Plan:
    """The plan, with the reason that is known only now that its alternatives are."""
    chosen = Decision(getattr(plan, setting), "planner", why)
    return replace(plan, decisions={**plan.decisions, setting: chosen})
