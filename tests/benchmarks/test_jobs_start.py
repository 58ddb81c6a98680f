"""Every job that a GPU is asked for can be planned and rendered: found out here, and not on the GPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import random_checkpoint
from benchmarks.presets import prove
from benchmarks.sizing import probe

FILES = ("trainer", "model", "method", "compute_dtype", "gradient_checkpointing", "kernels", "checkpoint")


def jobs() -> dict[str, dict[str, Any]]:
    """One job for each trainer that is built, whatever was measured before."""
    found: dict[str, dict[str, Any]] = {}
    for job in prove.plan_jobs([]):
        found.setdefault(json.dumps([job.get(key) for key in FILES]), job)
    return {job["id"]: job for job in found.values()}


JOBS = jobs()


@pytest.mark.parametrize("name", JOBS)
def test_its_files_are_written_for_the_checkpoint_that_it_loads(name: str, tmp_path: Path) -> None:
    job = JOBS[name]
    base, folder = tmp_path / "base", tmp_path / "job"
    base.mkdir()
    folder.mkdir()
    config = random_checkpoint.config(random_checkpoint.find_model(job["model"]), quantized=job["checkpoint"] == "nf4")
    (base / "config.json").write_text(json.dumps(config))
    plan = probe.write_files({**job, "folder": str(base)}, folder)
    assert (folder / "config.yaml").is_file()
    assert plan["compute_dtype"] == job["compute_dtype"]
    assert set(plan["kernels"]) == set(job.get("kernels", ()))


def test_jobs_in_float16_are_among_them() -> None:
    stored = [job for job in JOBS.values() if job["checkpoint"] == "nf4" and "lora" in job.get("kernels", ())]
    assert {job["compute_dtype"] for job in stored} == {"float16", "bfloat16"}


def test_what_was_measured_is_not_measured_again() -> None:
    """Neither of the presets nor of the blind test, whose results are committed with the memory model's."""
    everything = [(job["id"], shape) for job in prove.plan_jobs([]) for shape in job["shapes"]]
    left = [
        (job["id"], shape)
        for job in prove.plan_jobs(prove.measured_before([prove.COMMITTED]))
        for shape in job["shapes"]
    ]
    measured = prove.blind_test.read()
    again = [probe_case for probe_case in (case(name, shape) for name, shape in left) if probe_case in measured]
    assert len(left) < len(everything)
    assert again == []


def case(name: str, shape: dict[str, Any]) -> str:
    job = next((job for job in prove.blind_test.jobs() if job["id"] == name), None)
    return "" if job is None else prove.blind_test.case_name({**job, "shape": shape})
