"""The card that is here against the card that was planned for."""

from __future__ import annotations

from dataclasses import replace

from launcher.catalog import Gpu
from launcher.catalog.capability import has_bfloat16
from launcher.errors import Problem
from launcher.planning.plan import Plan
from launcher.records.environment import CardProcess, Environment
from launcher.trainers import get_trainer


def no_device(gpu: Gpu, facts: Environment) -> Problem:
    """Why torch finds no card: there is none, its driver is too old, or this torch is not built for CUDA."""
    planned = f"this run is planned for {gpu.title}, and torch finds no CUDA device here"
    seen = facts.seen
    if not seen:
        return Problem(planned, hint="--dry-run plans without a card; the preset cpu-tiny trains without one")
    card = f"nvidia-smi shows {seen[0].name} with driver {seen[0].driver}"
    if not facts.cuda:
        hint = f"install a CUDA build of torch in {facts.executable}: https://pytorch.org/get-started"
        return Problem(f"{planned}: {card}, but torch {facts.versions.get('torch')} is built for the CPU", hint=hint)
    hint = f"update the driver, or install a torch for a CUDA before {facts.cuda}; is CUDA_VISIBLE_DEVICES set?"
    return Problem(f"{planned}: {card}, which torch for CUDA {facts.cuda} cannot use", hint=hint)


def check_card(
    gpu: Gpu, plan: Plan, needed_gib: float, facts: Environment
) -> tuple[float | None, list[str], list[Problem]]:
    """The cap on the trainer's share of the card (None: none is needed), notes, and problems."""
    device = facts.devices[0]
    name, total, free, capability = device.name, device.total_gib, device.free_gib, device.capability
    problems = []
    if plan.compute_dtype == "bfloat16" and not has_bfloat16(capability):
        problems.append(Problem(f"{name} has no bfloat16", hint="--compute-dtype float16"))
    if capability < gpu.compute_capability:
        here = replace(gpu, compute_capability=capability, title=name)
        settings = {key: getattr(plan, key) for key in ("attn_implementation", "kernels", "activation_offload")}
        problems += get_trainer(plan.backend).refusals(settings, here)
    if not _built_for(capability, facts.arch_list):
        hint = f"install a torch that knows it, https://pytorch.org/get-started; here: {', '.join(facts.arch_list)}"
        problems.append(Problem(f"torch here has no code for {name}, compute capability {capability}", hint=hint))
    if needed_gib > total:
        problems.append(
            Problem(
                f"the run needs {needed_gib:.1f} GiB and {name} has {total:.1f} GiB",
                hint=f"this plan is for {gpu.title}: choose a preset for your card (`ql presets`)",
            )
        )
    elif needed_gib > free:
        problems.append(
            Problem(
                f"the run needs {needed_gib:.1f} GiB, and of {name}'s {total:.1f} GiB only {free:.1f} GiB are free",
                hint=_who_has_it(facts.processes),
            )
        )
    notes = [] if gpu.matches(name) else [f"planned for {gpu.title}, running on {name}"]
    if total <= gpu.usable_gib * 1.02:
        return None, notes, problems
    # A larger card stands in for the planned one: hold the trainer to the plan, so that the run proves it.
    notes.append(f"the trainer is capped at {gpu.usable_gib:.1f} GiB of {total:.1f} GiB; --no-cap lifts that")
    return round(gpu.usable_gib / total, 4), notes, problems


def _who_has_it(processes: list[CardProcess]) -> str:
    """The processes on the card, the largest first."""
    if not processes:
        return "nvidia-smi shows which process holds the rest"
    shown = sorted(processes, key=lambda process: -(process.gib or 0.0))[:4]
    words = [f"{process.name} (process {process.pid}) {process.gib or 0.0:.1f} GiB" for process in shown]
    return f"the rest is held by {', '.join(words)}: stop it, or wait for it"


def _built_for(capability: float, architectures: list[str]) -> bool:
    """Whether a torch built for these architectures (sm_86, compute_90) runs on the card; True when none are known.

    Code for 8.0 runs on 8.6; that for 8.6 does not run on 8.0, nor any on another major version. PTX (compute_) of an
    older one is compiled for a newer card.
    """
    major, minor = divmod(round(capability * 10), 10)
    for text in architectures:
        kind, _, number = text.partition("_")
        digits = "".join(char for char in number if char.isdigit())
        if not digits:
            continue
        theirs = divmod(int(digits), 10)
        if kind == "sm" and theirs[0] == major and theirs[1] <= minor:
            return True
        if kind == "compute" and theirs <= (major, minor):
            return True
    return not architectures
