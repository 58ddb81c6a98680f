"""In a container, for a user whom the image does not know, there is no home folder: everything works without."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest
from click.testing import CliRunner

from launcher.catalog import load_gpu
from launcher.cli.main import main
from launcher.errors import Unreadable
from launcher.planning.corrections import MachineCorrection
from launcher.preparing.calibrations import store_correction
from launcher.preparing.request import make_request
from launcher.runs.preflight.base_model import reach_problems
from launcher.runs.preflight.machine import cache_problems
from launcher.sizing import Correction


@pytest.fixture(autouse=True)
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "QL_CALIBRATION"):
        monkeypatch.delenv(name, raising=False)

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "argv",
    [
        ["estimate", "--preset", "a10g-7b"],
        ["launch", "--dry-run", "--preset", "a10g-7b", "--data", "TICKETS"],
        ["export", "--preset", "cpu-tiny", "--data", "TICKETS", "-o", "out"],
        ["check", "TICKETS"],
    ],
)
def test_a_verb_works(argv: list[str], tickets: Path) -> None:
    done = CliRunner().invoke(main, [str(tickets) if word == "TICKETS" else word for word in argv])
    assert done.exit_code == 0, done.output


def test_a_base_of_the_hub_is_looked_for() -> None:
    model = make_request(preset="a10g-8b").model
    assert "gated" in reach_problems("meta-llama/Llama-3.1-8B", model, {})[0].message


def test_a_calibration_is_not_kept_in_a_folder_called_tilde(tmp_path: Path) -> None:
    found = MachineCorrection(Correction(1.5, 1.25), 0.5, "NVIDIA A10G", "mistral-7b", "2026-11-24", {})
    with pytest.raises(Unreadable, match="QL_CALIBRATION"):
        store_correction(load_gpu("a10g"), "axolotl", found)
    assert list(tmp_path.iterdir()) == []


def test_a_launch_says_so_before_it_starts() -> None:
    [problem] = cache_problems()
    assert "no home folder" in problem.message
    assert "HOME" in (problem.hint or "")


def test_a_cache_that_cannot_be_written_is_said_before_a_launch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "file"))
    [problem] = cache_problems()
    assert str(tmp_path / "file" / "datasets") in problem.message
    assert "HF_HOME" in (problem.hint or "")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "not" / "there" / "yet"))
    assert cache_problems() == []
