"""`ql calibrate --forget`: what was kept is dropped, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from launcher.catalog import load_gpu
from launcher.cli.main import main
from launcher.planning.corrections import MachineCorrection
from launcher.preparing.calibrations import corrections_for, store_correction
from launcher.sizing import Correction

FOUND = MachineCorrection(Correction(1.5, 1.25), 0.5, "NVIDIA A10G", "mistral-7b", "2026-11-24", {"torch": "2.11"})


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "calibration.json"
    monkeypatch.setenv("QL_CALIBRATION", str(path))
    store_correction(load_gpu("a10g"), "axolotl", FOUND)
    store_correction(load_gpu("l4"), "unsloth", FOUND)
    return path


def forget(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["calibrate", "--forget", *arguments])


def test_of_one_card_or_of_all(kept: Path) -> None:
    assert json.loads(forget("--gpu", "l4", "--json").stdout)["forgotten"] == 1
    assert corrections_for(load_gpu("a10g")) == {"axolotl": FOUND}
    assert forget().stdout == "forgotten: 1\n"
    assert corrections_for(load_gpu("a10g")) == {}
    assert forget().stdout == "forgotten: 0\n"


@pytest.mark.parametrize(
    "named",
    [("--preset", "h100-7b"), ("--gpu", "l4", "--backend", "unsloth"), ("--model", "mistral-7b"), ("--set", "seed=1")],
)
def test_what_it_does_not_go_by_is_refused_and_nothing_is_dropped(kept: Path, named: tuple[str, ...]) -> None:
    result = forget(*named)
    assert result.exit_code == 2
    assert "--gpu alone" in result.stderr
    assert corrections_for(load_gpu("a10g")) == {"axolotl": FOUND}


def test_a_file_that_cannot_be_used_is_dropped(kept: Path) -> None:
    kept.write_text('{"version": 1, "corrections": {}}')
    assert forget("--gpu", "a10g").exit_code == 2  # nobody knows which of it that card's is
    assert "ql calibrate --forget" in forget("--gpu", "a10g").stderr
    assert forget().exit_code == 0
    assert corrections_for(load_gpu("a10g")) == {}


def test_a_card_alone_is_planned_for_with_a_7b(kept: Path) -> None:
    """There is no such card here, which is what it says: not that nothing was named."""
    result = CliRunner().invoke(main, ["calibrate", "--gpu", "v100-32gb"])
    assert result.exit_code == 1
    assert "the plan is for NVIDIA V100" in result.stderr


@pytest.mark.parametrize("steps", [("--max-steps", "3"), ("--set", "max_steps=3")])
def test_its_number_of_steps_is_its_own(steps: tuple[str, str]) -> None:
    result = CliRunner().invoke(main, ["calibrate", *steps])
    assert result.exit_code == 2
    assert "leave max_steps out" in result.stderr
