"""The blind test of the memory model: what it said beforehand is what measurements are held against."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from load_script import load_script

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "benchmarks" / "sizing"


blind = load_script(FOLDER / "blind.py")
PREDICTIONS = blind.committed()
PLAIN = next(name for name, case in PREDICTIONS["cases"].items() if case["expected"] is None)
ENOUGH, SHORT = (
    next(name for name, case in PREDICTIONS["cases"].items() if case["expected"] == said)
    for said in ("fits", "runs out")
)


def job_of(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return next(
        (job, shape)
        for job in PREDICTIONS["jobs"]
        for shape in job["shapes"]
        if blind.case_name({**job, "shape": shape}) == name
    )


def measured(name: str, factor: float = 1.0, **more: Any) -> dict[str, Any]:
    """A record whose every figure is the committed prediction times ``factor``."""
    said, (job, shape) = PREDICTIONS["cases"][name]["predicted"], job_of(name)
    figures = {figure: gib * factor for figure, gib in said.items()}
    context = 0.75
    return {
        **{key: job[key] for key in ("trainer", "model", "method")},
        "shape": shape,
        "training": {"allocated_gib": figures["allocated"], "reserved_gib": figures["device"] - context},
        "evaluation": {
            "allocated_gib": figures["evaluation"],
            "reserved_gib": figures["evaluation device"] - context,
        },
        "loading": {"reserved_gib": figures["loading device"] - context},
        "after": {"process_gib": 10.0 + context, "reserved_gib": 10.0},
    } | more


def test_the_architectures_are_in_no_measurement_that_the_model_was_made_from() -> None:
    seen = {json.loads(path.read_text())["model"] for path in (FOLDER / "results").glob("*.json")}
    assert not seen & set(blind.MODELS)
    trainers = {(job["trainer"], job["model"]) for job in PREDICTIONS["jobs"]}
    assert trainers == {(trainer, model) for trainer in ("axolotl", "unsloth") for model in blind.MODELS}


def test_every_job_has_its_prediction_and_the_file_says_which_model_made_it() -> None:
    names = [blind.case_name({**job, "shape": shape}) for job in PREDICTIONS["jobs"] for shape in job["shapes"]]
    assert len(set(names)) == len(names)
    assert set(names) == set(PREDICTIONS["cases"])
    assert {"launcher/sizing", "commit"} <= set(PREDICTIONS["by"])
    assert all(len(value) == 40 for value in PREDICTIONS["by"].values())


def test_caps_are_of_what_is_predicted_or_of_less() -> None:
    for name, case in PREDICTIONS["cases"].items():
        cap, said = job_of(name)[1].get("cap_gib"), case["predicted"]
        if case["expected"] == "fits":
            assert cap >= said["reserved"] - 1e-4
        elif case["expected"] == "runs out":
            assert cap < said["allocated"]
        else:
            assert cap is None


def test_nothing_measured_is_said() -> None:
    assert "**Not measured yet.**" in blind.section(PREDICTIONS, {})


def test_what_was_committed_is_compared_and_not_what_the_model_says_now(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the model was asked again")

    monkeypatch.setattr("launcher.sizing.estimate_memory", refuse)
    monkeypatch.setattr("launcher.sizing.memory.estimate_memory", refuse)
    monkeypatch.setattr(sys.modules["benchmarks.sizing.residuals"], "estimate_memory", refuse)
    results = {PLAIN: measured(PLAIN, 1 / 1.04)}
    assert "| allocated | 1 | 4.0% | +4.0% | +4.0% |" in blind.section(PREDICTIONS, results)
    other = copy.deepcopy(PREDICTIONS)
    other["cases"][PLAIN]["predicted"]["allocated"] *= 1.05
    assert "| allocated | 1 | 9.2% | +9.2% | +9.2% |" in blind.section(other, results)


def test_a_bound_is_kept_apart_from_what_is_predicted() -> None:
    ragged = next(name for name in PREDICTIONS["cases"] if name.startswith("unsloth") and name.endswith("-ragged"))
    full = ragged.replace("-ragged", "-full")
    text = blind.section(PREDICTIONS, {full: measured(full), ragged: measured(ragged, 1 / 1.2)})
    assert "| unsloth | allocated | 1 | 0.0% | +0.0% | +0.0% |" in text
    assert "| unsloth, rows of unequal length, predicted as if full | allocated | 1 | 20.0% | +20.0% | +20.0% |" in text


def test_a_case_that_was_called_fitting_and_ran_out_is_counted() -> None:
    came = {ENOUGH: measured(ENOUGH), SHORT: measured(SHORT, out_of_memory="CUDA out of memory")}
    text = blind.section(PREDICTIONS, came)
    assert "that were called fitting 0 ran out" in text
    assert f"| {SHORT} | {job_of(SHORT)[1]['cap_gib']:.2f} | runs out | runs out |" in text
    came[ENOUGH]["out_of_memory"] = "CUDA out of memory"
    assert "that were called fitting 1 ran out" in blind.section(PREDICTIONS, came)


def test_a_plain_case_that_ran_out_or_was_not_evaluated_breaks_nothing() -> None:
    packed = next(name for name in PREDICTIONS["cases"] if "packing" in name)
    came = {PLAIN: measured(PLAIN, out_of_memory="CUDA out of memory"), packed: measured(packed, evaluation=None)}
    came[PLAIN.replace("2048x2", "512x16")] = measured(PLAIN, after={"process_gib": None, "reserved_gib": 10.0})
    text = blind.section(PREDICTIONS, came)
    assert f"3 of {len(PREDICTIONS['cases'])} cases are measured so far" in text
    assert f"| {packed} |" in text


def test_no_prediction_is_made_once_there_is_a_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / f"{PLAIN}.json").write_text(json.dumps(measured(PLAIN)))
    monkeypatch.setattr(blind, "read", lambda: {PLAIN: measured(PLAIN)})
    monkeypatch.setattr(sys, "argv", ["blind.py", "predict"])
    with pytest.raises(SystemExit, match="would not be blind"):
        blind.main()


def test_every_committed_measurement_has_a_prediction() -> None:
    assert set(blind.read()) <= set(PREDICTIONS["cases"])
