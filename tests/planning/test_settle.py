"""What rows are read with is what is planned: for every preset, and whoever set it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launcher.catalog import list_presets, list_recipes, load_recipe
from launcher.planning.decide import make_plan
from launcher.planning.settle import settle
from launcher.preparing.prepare import prepare
from launcher.preparing.request import make_request

SETTLED = ("chat_template", "eval_fraction", "seed")


def test_the_recipes_agree_on_it() -> None:
    """Else the rows could not be read before the method is chosen."""
    said = [{key: load_recipe(name).settings.get(key) for key in SETTLED} for name in list_recipes()]
    assert all(one == said[0] for one in said)


@pytest.mark.parametrize("preset", list_presets())
def test_of_every_preset(preset: str) -> None:
    request = make_request(preset=preset)
    settled, plan = settle(request), make_plan(request)
    assert [getattr(settled, key) for key in SETTLED] == [getattr(plan, key) for key in SETTLED]


@pytest.mark.parametrize("method", [None, "qlora", "lora", "auto"])
@pytest.mark.parametrize("settings", [{}, {"chat_template": "llama3", "seed": 7}, {"eval_fraction": 0.3}])
def test_whoever_set_it(settings: dict[str, Any], method: str | None) -> None:
    request = make_request(gpu="h100", model="mistral-7b", method=method, settings=settings)
    settled, plan = settle(request), make_plan(request)
    assert [getattr(settled, key) for key in SETTLED] == [getattr(plan, key) for key in SETTLED]


@pytest.mark.parametrize("template", ["llama3", "gemma"])
def test_rows_are_read_with_the_chat_template_of_a_preset(template: str, tickets: Path) -> None:
    """They were read with the model's own, and planned and trained with the preset's."""
    request = make_request(preset="a10g-7b")
    assert request.preset is not None
    settings = {**request.preset.settings, "chat_template": template}
    prepared = prepare(replace(request, preset=replace(request.preset, settings=settings)), tickets)
    by_hand = prepare(make_request(preset="a10g-7b", settings={"chat_template": template}), tickets)
    own = prepare(request, tickets)
    assert prepared.plan.chat_template == template
    assert prepared.report is not None and by_hand.report is not None and own.report is not None
    assert prepared.report.lengths == by_hand.report.lengths
    assert prepared.report.lengths != own.report.lengths
    assert prepared.files["chat_template.jinja"] == by_hand.files["chat_template.jinja"]
