"""What a prepared run refuses before it is written."""

from __future__ import annotations

import pytest

from launcher.errors import BadInput
from launcher.planning.decide import make_plan
from launcher.planning.estimate import estimate_plan_memory
from launcher.preparing.prepared import require_fit
from launcher.preparing.request import make_request


@pytest.mark.parametrize(("method", "offered"), [("qlora", False), ("lora", True)])
def test_qlora_is_offered_only_to_a_run_that_is_none(method: str, offered: bool) -> None:
    request = make_request(gpu="t4", model="llama-2-70b", method=method)
    plan = make_plan(request)
    with pytest.raises(BadInput, match=r"needs [\d.]+ GiB and .* has [\d.]+ GiB to give") as refused:
        require_fit(estimate_plan_memory(plan, request), request.gpu, plan.method)
    hints = [problem.hint or "" for problem in refused.value.problems]
    assert ["--method qlora" in hint for hint in hints] == [offered]
    assert "a larger card" in hints[0]
