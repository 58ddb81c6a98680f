"""What must hold before a run writes anything; every failure says what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launcher.catalog import load_gpu
from launcher.errors import RunFailed
from launcher.planning.decide import make_plan
from launcher.planning.request import make_request
from launcher.runs.preflight import check_base, check_environment

VERSIONS = dict.fromkeys(
    ("axolotl", "unsloth", "torch", "transformers", "peft", "bitsandbytes", "safetensors", "accelerate"), "1.0"
)


def machine(*, name: str = "NVIDIA A10G", total: float = 22.1, free: float = 21.9, capability: str = "8.6") -> Any:
    device = {"index": 0, "name": name, "total_gib": total, "free_gib": free, "compute_capability": capability}
    return {"versions": VERSIONS, "executable": "python", "devices": [device]}


def check(facts: Any, preset: str = "a10g-7b", needed: float = 15.0, **settings: Any) -> tuple[float | None, list[str]]:
    plan = make_plan(make_request(preset=preset, settings=settings))
    return check_environment(plan, load_gpu(plan.gpu), needed, facts)


def test_the_planned_card_needs_no_cap_and_no_note() -> None:
    assert check(machine()) == (None, [])


def test_a_larger_card_is_capped_to_the_plan() -> None:
    fraction, notes = check(machine(name="NVIDIA H100 80GB HBM3", total=79.2, free=78.0, capability="9.0"))
    assert fraction == pytest.approx(load_gpu("a10g").usable_gib / 79.2, abs=1e-3)
    assert any("capped" in note for note in notes)


def test_a_missing_trainer_names_its_install() -> None:
    facts = machine() | {"versions": VERSIONS | {"axolotl": None}}
    with pytest.raises(RunFailed, match=r"ql\[axolotl\]"):
        check(facts)


def test_no_card_points_to_what_works_without_one() -> None:
    with pytest.raises(RunFailed, match="--dry-run"):
        check(machine() | {"devices": []})


def test_a_card_that_is_too_small_or_taken_is_refused() -> None:
    with pytest.raises(RunFailed, match=r"needs 15\.0 GiB and NVIDIA T4 has 14\.6"):
        check(machine(name="NVIDIA T4", total=14.6, free=14.0, capability="7.5"))
    with pytest.raises(RunFailed, match=r"only 3\.0 GiB are free"):
        check(machine(free=3.0))


def test_bfloat16_needs_a_card_that_has_it() -> None:
    with pytest.raises(RunFailed, match="no bfloat16"):
        check(machine(name="NVIDIA T4", total=40, free=40, capability="7.5"), "h100-7b")


def test_all_that_is_missing_is_said_at_once() -> None:
    with pytest.raises(RunFailed) as caught:
        check({"versions": VERSIONS | {"axolotl": None}, "executable": "python", "devices": []})
    assert len(caught.value.problems) == 2


def test_a_base_folder_must_have_every_shard(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"no model\.safetensors"):
        check_base(str(tmp_path))
    weights = {"a": "one.safetensors", "b": "two.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    (tmp_path / "one.safetensors").touch()
    with pytest.raises(RunFailed, match=r"no two\.safetensors"):
        check_base(str(tmp_path))
    (tmp_path / "two.safetensors").touch()
    check_base(str(tmp_path))


def test_pickled_weights_are_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(RunFailed, match="safetensors"):
        check_base(str(tmp_path))
