"""The first facts of a run: what it cost, how its loss went."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launcher.records.codec import decode, encode
from launcher.records.run import Curve
from launcher.runs.results.summary import CURVE, summarise
from launcher.runs.run import Run, create_run
from manifests import new_manifest

PLAN = {"preset": "a10g-7b", "gpu": "a10g", "model": "x", "backend": "axolotl", "method": "qlora", "base_model": "x"}


def make_run(folder: Path, **facts: Any) -> Run:
    run = create_run(folder, "a10g-7b", new_manifest(plan=PLAN, **facts))
    run.stage("train").seconds = 1800.0
    return run


def test_a_run_costs_its_hours_at_the_price_it_recorded(tmp_path: Path) -> None:
    price = {"usd_per_hour": 3.0, "source": "given", "date": ""}
    facts = summarise(make_run(tmp_path, estimate={"price": price}))
    assert facts.usd == pytest.approx(1.5)
    assert encode(facts.price) == price


def test_a_run_without_a_recorded_price_takes_the_catalogs(tmp_path: Path) -> None:
    facts = summarise(make_run(tmp_path))
    assert facts.price is not None
    assert facts.usd == pytest.approx(facts.price.usd_per_hour / 2)


def test_no_price_no_cost(tmp_path: Path) -> None:
    assert summarise(make_run(tmp_path, estimate={"price": None})).usd is None


def test_the_curve_of_a_run_that_goes_is_read_from_its_telemetry(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    logs = [{"event": "log", "step": step, "loss": 1 / step} for step in range(1, 200)]
    (run.path / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in logs) + '{"event": "l')
    curve = summarise(run).curve
    assert len(curve.loss) == CURVE
    assert curve.loss[0] > curve.loss[-1]
    assert curve.eval_loss == []


def test_the_curve_of_a_run_that_ended_is_the_recorded_one(tmp_path: Path) -> None:
    curve = {"loss": [2.0, 1.0], "eval_loss": [1.5]}
    assert summarise(make_run(tmp_path, curve=curve)).curve == decode(Curve, curve)
