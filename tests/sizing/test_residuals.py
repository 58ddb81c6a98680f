"""The memory model against every committed measurement: the published residuals stay within the targets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from load_script import load_script

ROOT = Path(__file__).resolve().parent.parent.parent


residuals = load_script(ROOT / "benchmarks" / "sizing" / "residuals.py")
CASES = residuals.read()
TRAINERS = ("axolotl", "unsloth")


def chosen(trainer: str, *, held_out: bool) -> list[object]:
    return residuals.select(CASES, lambda case: case.raw["trainer"] == trainer and case.held_out == held_out)


def test_there_are_enough_cases_and_architectures() -> None:
    published = residuals.published(CASES)
    assert len(published) >= 48
    assert {case.raw["trainer"] for case in published} == set(TRAINERS)
    assert len({case.raw["model"] for case in published}) >= 7
    for trainer in TRAINERS:
        assert len(residuals.HELD_OUT[trainer]) >= 2
        assert len({case.raw["model"] for case in chosen(trainer, held_out=True)}) >= 2


@pytest.mark.parametrize("held_out", [True, False])
@pytest.mark.parametrize("trainer", TRAINERS)
def test_targets(trainer: str, held_out: bool) -> None:
    cases = chosen(trainer, held_out=held_out)
    allocated, device = residuals.summary(cases, "allocated"), residuals.summary(cases, "device")
    assert allocated["mean"] <= 0.025
    assert abs(allocated["worst"]) <= 0.06
    assert device["mean"] <= 0.03
    assert abs(device["worst"]) <= 0.08


@pytest.mark.parametrize("figure", ["device", "evaluation device", "loading device"])
def test_the_device_is_never_underestimated_by_more_than_three_percent(figure: str) -> None:
    assert min(case.error(figure) for case in residuals.published(CASES)) >= -0.03


def test_no_case_is_called_fitting_that_runs_out() -> None:
    """On a card with exactly what a case took, less than the estimate's margin, it must not fit by more than that."""
    for case in residuals.published(CASES):
        needed = max(case.figures[figure][0] for figure in ("device", "evaluation device", "loading device"))
        assert case.estimate.needed_gib >= needed * 0.97
        assert "out_of_memory" not in case.raw


def test_the_published_table_and_plot_are_those_of_the_committed_measurements() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "sizing" / "report.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
