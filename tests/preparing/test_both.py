"""QLoRA and LoRA on the same job: what is planned for both is the same but for the method."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from launcher.cli.main import main
from launcher.errors import BadInput, Unreadable
from launcher.planning.plan import SETTINGS
from launcher.preparing.asked import Asked
from launcher.preparing.both import OWN, Both, prepare_both
from launcher.preparing.prepare import prepare_asked
from launcher.records.codec import encode
from launcher.report.rerun import rerun_command
from manifests import new_manifest


def plan_both(tickets: Path, **asked: Any) -> Both:
    return prepare_both(Asked(data=str(tickets), method="both", **asked))


def test_an_edited_config_is_of_one_method(tickets: Path) -> None:
    with pytest.raises(Unreadable, match="of one method"):
        prepare_both(Asked(data=str(tickets), config="config.yaml", method="both"))


@pytest.mark.parametrize(
    "asked",
    [
        {"preset": "cpu-tiny"},
        {"preset": "cpu-tiny", "backend": "unsloth"},
        {"preset": "a10g-7b"},
        {"gpu": "h200", "model": "llama-2-13b"},
        {"preset": "a10g-7b", "settings": {"learning_rate": 1e-3, "max_steps": 5, "seed": 7}},
        {"preset": "h100-7b", "settings": {"quant_type": "fp4", "double_quant": True}},
    ],
    ids=str,
)
def test_only_the_method_s_own_differs(asked: dict[str, Any], tickets: Path) -> None:
    both = plan_both(tickets, **asked)
    qlora, lora = both.qlora.plan.to_dict(), both.lora.plan.to_dict()
    assert (qlora["method"], lora["method"]) == ("qlora", "lora")
    assert {key for key in SETTINGS if qlora[key] != lora[key]} <= OWN - {"backend"}
    assert lora["quant_type"] is None
    for one in (qlora, lora):
        assert one["micro_batch_size"] * one["gradient_accumulation_steps"] == one["effective_batch_size"]


def test_lora_says_why_its_values_are_not_its_recipe_s(tickets: Path) -> None:
    lora = plan_both(tickets, preset="a10g-7b", settings={"seed": 7}).lora.plan
    assert lora.sources["max_grad_norm"] == "pair"
    assert lora.reasons["max_grad_norm"] == "recipe lora: as in the QLoRA run that it is compared with"
    assert lora.max_grad_norm == 0.3  # QLoRA's; LoRA's own recipe clips at 1
    assert lora.reasons["seed"] == "set by you"


def test_a_card_that_does_not_hold_lora_is_refused_with_the_numbers(tickets: Path) -> None:
    with pytest.raises(BadInput, match="lora: this run needs") as caught:
        plan_both(tickets, preset="a10g-13b")
    assert "--method qlora" in str(caught.value)


def planned(command: list[str]) -> dict[str, Any]:
    done = CliRunner().invoke(main, [*command[1:], "--dry-run", "--json"])
    assert done.exit_code == 0, done.output
    plan: dict[str, Any] = json.loads(done.stdout)["plan"]
    return plan


@pytest.mark.parametrize("preset", ["cpu-tiny", "a10g-7b"])
def test_each_run_of_a_pair_can_be_planned_again(preset: str, tickets: Path) -> None:
    """By a resume, which compares the plans; and by a person, from the command in the report."""
    both = plan_both(tickets, preset=preset, settings={"seed": 7})
    for prepared in both.each:
        plan = prepared.plan.to_dict()
        resumed = prepare_asked(both.asked_for(plan["method"]), sys.executable).plan.to_dict()
        data = {"path": str(tickets), "sha256": ""}
        whole = encode(both.asked_for(plan["method"]).record())
        kept: list[dict[str, Any]] = [
            {"plan": prepared.plan.record(), "asked": whole},
            {"plan": prepared.plan.record()},
            {"plan": plan},  # of before the sources were written down
        ]
        again = [planned(rerun_command(new_manifest(data=data, **facts))) for facts in kept]
        for found in (resumed, *again):
            assert {key: found[key] for key in SETTINGS} == {key: plan[key] for key in SETTINGS}
