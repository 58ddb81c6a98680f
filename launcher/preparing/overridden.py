"""What the person changed: the value that each of their settings took the place of."""

from __future__ import annotations

from dataclasses import replace

from launcher.errors import BadInput
from launcher.planning.decide import make_plan
from launcher.planning.plan import Plan
from launcher.planning.request import Request
from launcher.records.run import Overridden


def overridden(plan: Plan, request: Request) -> dict[str, Overridden]:
    """What each value that the person set would have been without it, and why.

    The plan knows it, but for what its solver chooses: where the person set some of that, the job is planned again
    without what they set. Then it is empty where that plan would be refused.
    """
    if not request.overrides:
        return {}
    found = plan.instead
    if request.overrides.keys() - found.keys():
        try:
            other = make_plan(replace(request, overrides={}))
        except BadInput:
            return {}
        found = other.decisions
    return {key: Overridden(value=_plain(found[key].value), reason=found[key].reason) for key in request.overrides}


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
