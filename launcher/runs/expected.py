"""What a run is expected to take, for its manifest: the live view and the report hold what was measured against it."""

from __future__ import annotations

from dataclasses import replace

from launcher.errors import BadInput
from launcher.planning.decide import make_plan
from launcher.planning.forecast import forecast
from launcher.records.codec import decode
from launcher.records.run import Estimate, Overridden, Price
from launcher.runs.prepared import Prepared


def overridden(prepared: Prepared) -> dict[str, Overridden]:
    """What each value that the person set would have been without it.

    Empty where nothing was set, or where the plan without it would be refused.
    """
    request = prepared.request
    if not request.overrides:
        return {}
    try:
        plan = make_plan(replace(request, overrides={}))
    except BadInput:
        return {}
    values = plan.to_dict()
    return {
        key: Overridden(value=values[key], reason=plan.decisions[key].reason)
        for key in request.overrides
        if key in values and key in plan.decisions
    }


def expected(prepared: Prepared, usd_per_hour: float | None = None, *, merge: bool = True) -> Estimate:
    """Memory in GiB, speed, hours and USD, with or without ``merge``; None where nothing is known to reckon with.

    ``usd_per_hour`` wins over the card's own price.
    """
    rows = len(prepared.golden)
    try:
        found = forecast(prepared.request, usd_per_hour=usd_per_hour, golden_rows=rows, merge=merge).to_dict()
    except BadInput:  # an edited config may choose what ql would not plan; the validator has looked at it
        found = {"throughput": {"tokens_per_second": None}, **dict.fromkeys(("hours", "hours_by_part", "usd", "price"))}
    memory = prepared.memory
    return Estimate(
        gpu_title=prepared.gpu.title,
        peak_gib=memory.peak_gib,
        allocated_gib=memory.allocated_gib,
        budget_gib=memory.budget_gib,
        breakdown_gib=memory.breakdown_gib,
        tokens_per_second=found["throughput"]["tokens_per_second"],
        hours=found["hours"],
        hours_by_part=found["hours_by_part"],
        usd=found["usd"],
        price=found["price"] and decode(Price, found["price"]),
    )
