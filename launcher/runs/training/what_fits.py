"""What would have fitted the card, for a training that did not."""

from __future__ import annotations

from dataclasses import replace

from launcher.errors import QlError
from launcher.planning.estimate import estimate_plan_memory
from launcher.preparing.asked import Asked
from launcher.runs.run import Run
from launcher.runs.training.repairs import LENGTH_STEP, SHORTEST

MARGIN = 0.85  # of what the estimate gives for the run that did not fit: it was too low there


def what_fits(run: Run) -> str | None:
    """A sentence with the longest sequence length that the estimate holds possible; None when nothing can be said."""
    if run.record.asked is None:
        return None
    try:
        plan = run.read_plan()
        request = Asked.of(run.record.asked).request()
        here = estimate_plan_memory(plan, request)
        budget = here.budget_gib
        limit = MARGIN * min(here.needed_gib, here.needed_gib if budget is None else budget)
        length = plan.sequence_len // 2 // LENGTH_STEP * LENGTH_STEP
        while length >= SHORTEST:
            needed = estimate_plan_memory(replace(plan, sequence_len=length), request).needed_gib
            if needed <= limit:
                return (
                    f"by the estimate, --set sequence_len={length} needs {needed:.1f} GiB where this run was thought "
                    f"to need {here.needed_gib:.1f}; --allow-shorter lets a run take that step by itself"
                )
            length = length // 2 // LENGTH_STEP * LENGTH_STEP
    except QlError:
        return None
    other = "--method qlora, " if plan.method != "qlora" else ""
    return f"no shorter sequence length helps: a smaller --model, {other}or a larger card"
