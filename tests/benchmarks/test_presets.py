"""The proof of the presets: what it would run, and what its tables make of what came back. No GPU, no torch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launcher.catalog import list_presets, load_preset
from load_script import load_script

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "presets"


proving, table = load_script(FOLDER / "jobs.py"), load_script(FOLDER / "table.py")


def test_every_preset_of_a_gpu_is_measured_once_under_no_more_than_its_own_cap() -> None:
    caps = {proof.preset: proof.cap_gib for proof in proving.proofs()}
    assert set(caps) == {name for name in list_presets() if load_preset(name).gpu != "cpu"}
    for rows in ("full", "ragged"):
        found: dict[str, dict[str, Any]] = {}
        for job in proving.jobs():
            for shape in job["shapes"]:
                for preset in shape["presets"]:
                    if shape["rows"] == rows:
                        assert preset not in found
                        found[preset] = shape
                        assert shape["cap_gib"] <= caps[preset] + 1e-3
        several = {proof.preset for proof in proving.proofs() if proof.plan.micro_batch_size > 1}
        assert set(found) == (set(caps) if rows == "full" else several)


def test_a_cap_is_what_the_card_gives_less_context_and_paged_state() -> None:
    for proof in proving.proofs():
        outside = proof.request.gpu.usable_gib - proof.cap_gib
        parts = proof.memory.breakdown_gib
        paged = parts["optimizer_state"] if proof.plan.optimizer.startswith("paged") else 0.0
        assert outside == pytest.approx(parts["cuda_context"] + paged)
        assert proof.memory.reserved_gib < proof.cap_gib


def test_a_jobs_shapes_share_what_a_loaded_trainer_is_made_for() -> None:
    plans = {proof.preset: proof.plan for proof in proving.proofs()}
    for job in proving.jobs():
        for shape in job["shapes"]:
            for preset in shape["presets"]:
                plan = plans[preset]
                assert all(
                    job[key] == _listed(getattr(plan, key)) for key in proving.MODEL_KEYS if key not in ("trainer",)
                )
                assert job["trainer"] == plan.backend
                assert shape["micro_batch_size"] == plan.micro_batch_size
                assert shape["eval_rows"] == plan.eval_batch_size


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def test_each_trainer_and_model_has_its_example_settings_measured() -> None:
    examples = {(job["trainer"], job["model"]) for job in proving.jobs() if job["kind"] == "example"}
    assert examples == {(proof.plan.backend, proof.plan.model) for proof in proving.proofs()}
    for job in proving.jobs():
        if job["kind"] == "example":
            assert [shape["micro_batch_size"] for shape in job["shapes"]] == [proving.EXAMPLE_ROWS]
            assert "liger" not in job["kernels"]


def test_what_proves_most_comes_first() -> None:
    planned = proving.jobs()
    ranks = [job["rank"] for job in planned]
    assert ranks == sorted(ranks)
    house = {name for name in list_presets() if load_preset(name).gpu in proving.HOUSE}
    first = [job for job in planned if job["rank"] == proving.HOUSE_FIRST]
    assert house <= {preset for job in first for shape in job["shapes"] for preset in shape["presets"]}
    assert {job["checkpoint"] for job in planned} == {"nf4"}
    assert [job["id"].endswith(proving.WHOLE) for job in planned] == [
        job["gib"][1] > proving.WHOLE_GIB for job in planned
    ]


def came_back(job: dict[str, Any], shape: dict[str, Any], **more: Any) -> dict[str, Any]:
    peaks = {"allocated_gib": 9.0, "reserved_gib": 10.0}
    return {"kind": job["kind"], "id": job["id"], "shape": shape, "training": peaks, **more}


def test_what_came_back_is_not_run_again() -> None:
    planned = proving.jobs()
    records = [came_back(job, shape, alone=True) for job in planned for shape in job["shapes"]]
    assert proving.jobs(records) == []
    job = planned[0]
    rest = proving.jobs(records[1:])
    assert [(one["id"], one["shapes"][0]["presets"]) for one in rest] == [(job["id"], job["shapes"][0]["presets"])]
    extra = proving.extra_jobs()
    half = [came_back(one, one["shapes"][0], alone=True) for one in extra if len(one["shapes"]) == 2]
    assert sum(len(one["shapes"]) for one in proving.remaining(extra, half)) == len(half) + 4


def test_what_was_timed_beside_other_work_is_timed_again_behind_all_else() -> None:
    job = proving.jobs()[0]
    again = proving.jobs([came_back(job, shape) for shape in job["shapes"] if shape["rows"] == "full"])
    found = next(one for one in again if one["id"] == job["id"])
    assert found["rank"] == proving.RAGGED
    assert [shape["rows"] for shape in found["shapes"]] == ["ragged"] + ["full"] * (len(found["shapes"]) - 1)


@pytest.mark.parametrize("more", [{"error": "RuntimeError: x"}, {"training": None}])
def test_what_failed_is_run_again(more: dict[str, Any]) -> None:
    planned = proving.jobs()
    job = planned[0]
    records = [came_back(job, shape, alone=True, **more) for shape in job["shapes"]]
    assert proving.jobs(records) == planned


def test_a_run_under_a_looser_cap_is_run_again_unless_it_ran_out() -> None:
    planned = proving.jobs()
    job, shape = planned[0], planned[0]["shapes"][0]
    loose = {**shape, "cap_gib": shape["cap_gib"] + 1.0}
    assert proving.jobs([came_back(job, loose, alone=True)]) == planned
    assert proving.jobs([came_back(job, loose, out_of_memory="CUDA out of memory")]) != planned


def test_names_of_jobs_are_file_names_and_differ() -> None:
    names = [job["id"] for job in [*proving.jobs(), *proving.extra_jobs()]]
    assert len(set(names)) == len(names)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.+") for name in names)


# --- the tables ---


def planned(**changes: Any) -> dict[str, Any]:
    plan = {
        "backend": "axolotl", "model": "mistral-7b", "micro_batch_size": 4, "sequence_len": 2048,
        "gradient_checkpointing": True, "activation_offload": False, "reasons": {"micro_batch_size": "8 would not fit"},
    }  # fmt: skip
    return {
        "plan": plan, "usable_gib": 22.0, "cap_gib": 21.0, "budget_gib": 21.1, "peak_gib": 20.0, "evaluation_gib": 15.0,
    } | changes  # fmt: skip


def record(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "preset", "trainer": "axolotl", "model": "mistral-7b", "device": {"name": "NVIDIA H200"}, "alone": True,
        "shape": {"presets": ["a10g-7b"], "cap_gib": 21.0, "micro_batch_size": 4, "sequence_len": 2048, "rows": "full"},
        "training": {"allocated_gib": 17.0, "reserved_gib": 18.5},
        "evaluation": {"allocated_gib": 10.0, "reserved_gib": 12.0}, "tokens_per_second": 9000.0, "versions": {},
    } | changes  # fmt: skip


EXAMPLE = record(kind="example", tokens_per_second=5000.0, shape={"presets": []}, evaluation=None)


def test_a_proven_preset_has_its_share_of_the_budget_and_its_speed_against_the_example() -> None:
    one = table.preset_standing("a10g-7b", planned(), [record(), EXAMPLE])
    assert one.proven
    assert one.measured_gib == pytest.approx(19.5)  # reserved, and 1 GiB outside the allocator
    assert one.used == pytest.approx(19.5 / 21.1)
    assert one.times_as_fast == pytest.approx(1.8)
    assert one.why == ["full rows; padded ones are predicted to take 20.0 GiB"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"out_of_memory": "CUDA out of memory"}, "ran out of memory"),
        ({"error": "RuntimeError: x"}, "RuntimeError"),
        ({"shape": {"presets": []}}, "not run"),
        ({"training": {"allocated_gib": 9.0, "reserved_gib": 9.0}, "evaluation": None}, "8 would not fit"),
        ({"tokens_per_second": 5500.0}, "waits for its host"),
    ],
)
def test_what_falls_short_says_why(changes: dict[str, Any], why: str) -> None:
    one = table.preset_standing("a10g-7b", planned(), [record(**changes), EXAMPLE])
    assert any(why in reason for reason in one.why)


def test_a_cap_looser_than_the_presets_proves_nothing() -> None:
    wide = record(shape=record()["shape"] | {"cap_gib": 30.0})
    assert not table.preset_standing("a10g-7b", planned(), [wide]).proven


def test_the_newest_record_of_a_preset_counts_and_one_of_another_plan_does_not() -> None:
    newer = record(at=2.0, tokens_per_second=9500.0)
    one = table.preset_standing("a10g-7b", planned(), [record(at=1.0), newer, record(at=3.0, error="x")])
    assert one.tokens_per_second == 9500.0
    other = record(shape=record()["shape"] | {"micro_batch_size": 8})
    assert table.preset_standing("a10g-7b", planned(), [other]).why == ["not run"]
    assert table.preset_standing("a10g-7b", planned(), [record(gradient_checkpointing=False)]).why == ["not run"]


def test_padded_rows_are_measured_too_and_must_not_run_out() -> None:
    shape = record()["shape"] | {"rows": "ragged"}
    padded = record(shape=shape, training={"allocated_gib": 18.0, "reserved_gib": 19.0})
    one = table.preset_standing("a10g-7b", planned(), [record(), padded])
    assert one.padded_gib == pytest.approx(20.0)
    assert one.why == []
    out = record(shape=shape, out_of_memory="CUDA out of memory")
    one = table.preset_standing("a10g-7b", planned(), [record(), out])
    assert any("ran out of memory under the cap with padded rows" in why for why in one.why)
    assert not one.proven


def test_a_larger_case_of_the_memory_model_covers_a_preset_that_was_not_run() -> None:
    plan = planned()["plan"] | {
        "method": "qlora", "kernels": ["lora"], "packing": False, "lora_r": 16, "optimizer": "paged_adamw_8bit",
        "eval_batch_size": 4,
    }  # fmt: skip
    case = record(plan=plan, shape={"micro_batch_size": 8, "sequence_len": 2048})
    case["evaluation"]["rows"] = 8
    one = table.preset_standing("a10g-7b", planned(plan=plan), [], [case])
    assert one.proven
    assert one.measured_gib == pytest.approx(19.5)
    assert "covered by 8 x 2048" in one.why[0]
    smaller = {**case, "shape": {"micro_batch_size": 2, "sequence_len": 2048}}
    too_large = {**case, "training": {"allocated_gib": 30.0, "reserved_gib": 30.0}}
    other = {**case, "plan": plan | {"kernels": []}}
    for useless in (smaller, too_large, other, {**case, "trainer": "unsloth"}):
        assert not table.preset_standing("a10g-7b", planned(plan=plan), [], [useless]).proven


def test_an_example_that_does_not_fit_the_card_is_said() -> None:
    large = {**EXAMPLE, "training": {"allocated_gib": 30.0, "reserved_gib": 30.0}}
    one = table.preset_standing("a10g-7b", planned(), [record(), large])
    assert any("does not fit this card" in reason for reason in one.why)


def test_the_page_holds_every_part(tmp_path: Path) -> None:
    dtype = [
        record(
            kind="dtype",
            compute_dtype=name,
            curve=[{"step": 1, "loss": 2.0, "grad_norm": 0.5, "skipped_steps": 1}],
            shape={"presets": []},
        )
        for name in ("float16", "bfloat16")
    ]
    methods = [
        record(kind="method", method=name, shape={"presets": [], "micro_batch_size": 2, "sequence_len": 2048})
        for name in ("lora", "qlora")
    ]
    lines = "".join(json.dumps(one) + "\n" for one in [record(), EXAMPLE, *dtype, *methods])
    (tmp_path / "results.jsonl").write_text(lines)
    (tmp_path / "presets.json").write_text(json.dumps({"a10g-7b": planned()}))
    page = table.page(tmp_path)
    for said in ("1 of 1 presets are proven", "| a10g-7b |", "QLoRA against LoRA", "+0%", "skipped in", "Not run."):
        assert said in page


def test_full_rows_were_predicted_to_the_last_mask() -> None:
    """What was allocated of every proven preset, whose rows were of equal length, and so without a mask."""
    by_name = {proof.preset: proof for proof in proving.proofs()}
    text = (FOLDER / "results" / "results.jsonl").read_text(encoding="utf-8")
    held = 0
    for record in map(json.loads, text.splitlines()):
        names = [name for name in record["shape"].get("presets", ()) if name in by_name]
        if record["kind"] != "preset" or record["shape"]["rows"] != "full" or not names or "error" in record:
            continue
        proof = by_name[names[0]]
        if proof.shape["micro_batch_size"] != record["shape"]["micro_batch_size"]:
            continue
        job = proving.memory_request(proof.plan.to_dict(), proof.request)
        if job.gradient_checkpointing != record["gradient_checkpointing"]:
            continue
        full = proving.estimate_memory(replace(job, equal_rows=True))
        assert full.allocated_gib == pytest.approx(record["training"]["allocated_gib"], rel=0.02), names
        held += 1
    assert held > 30
