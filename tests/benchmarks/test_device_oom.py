"""The benchmark that runs out of memory on purpose: its cap reaches every place where the launcher checks the card."""

from __future__ import annotations

from pathlib import Path

from launcher.catalog import load_gpu
from launcher.planning.decide import make_plan
from launcher.preparing.request import make_request
from launcher.records.codec import decode
from launcher.records.environment import Environment
from launcher.runs import launch, preflight, resume
from load_script import load_script

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "survive" / "device_oom.py"
FACTS = {
    "versions": dict.fromkeys(("torch", "transformers", "peft", "bitsandbytes", "safetensors", "accelerate"), "1")
    | {"axolotl": "0.19.0"},
    "executable": "python",
    "arch_list": ["sm_90"],
    "cuda": "13.0",
    "devices": [{"name": "NVIDIA H200", "total_gib": 120.0, "free_gib": 100.0, "compute_capability": "9.0"}],
}


def test_the_cap_is_what_a_launch_and_a_resume_get() -> None:
    module = load_script(PATH)
    gpu, plan = load_gpu("h200"), make_plan(make_request(preset="h200-7b"))
    facts = decode(Environment, FACTS)
    undo = module.hold_to(24.0)
    try:
        # a launch asks through check_start, which looks the name up where it is defined; a resume in the package
        assert launch.preflight.check_start is preflight.check_start
        assert resume.preflight is preflight
        for check in (preflight.check_start.__globals__["check_environment"], preflight.check_environment):
            share, notes = check(plan, gpu, 110.0, facts)  # more than is free: only the cap has to be there
            assert share == 0.2
            assert "held to 24.0 GiB, where 110.0 GiB are planned" in notes[-1]
    finally:
        undo()
    assert preflight.check_environment.__name__ == "check_environment"
    assert preflight.check_start.__globals__["check_environment"] is preflight.check_environment
