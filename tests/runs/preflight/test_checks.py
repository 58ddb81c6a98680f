"""What must hold before a run writes anything; every failure says what to do."""

from __future__ import annotations

import json
import struct
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from launcher.catalog import load_gpu, load_model
from launcher.errors import RunFailed, Unreadable
from launcher.planning.decide import make_plan
from launcher.preparing.asked import Asked
from launcher.preparing.prepare import prepare_asked
from launcher.preparing.prepared import Prepared
from launcher.preparing.request import make_request
from launcher.records.codec import decode
from launcher.records.environment import Environment
from launcher.runs.preflight import check_base, check_environment, check_start, examine
from launcher.runs.preflight import machine as place
from launcher.runs.preflight.base_model import reach_problems
from launcher.runs.preflight.machine import place_problems, require_writable

VERSIONS = dict.fromkeys(
    ("axolotl", "unsloth", "torch", "transformers", "peft", "bitsandbytes", "safetensors", "accelerate"), "1.0"
)


def environment(facts: dict[str, Any]) -> Environment:
    return decode(Environment, facts)


def machine(*, name: str = "NVIDIA A10G", total: float = 22.1, free: float = 21.9, capability: str = "8.6") -> Any:
    device = {"index": 0, "name": name, "total_gib": total, "free_gib": free, "compute_capability": capability}
    return {"versions": VERSIONS, "executable": "python", "devices": [device]}


def check(facts: Any, preset: str = "a10g-7b", needed: float = 15.0, **settings: Any) -> tuple[float | None, list[str]]:
    plan = make_plan(make_request(preset=preset, settings=settings))
    return check_environment(plan, load_gpu(plan.gpu), needed, environment(facts))


def test_the_planned_card_needs_no_cap_and_no_note() -> None:
    assert check(machine()) == (None, [])


def test_a_larger_card_is_capped_to_the_plan() -> None:
    fraction, notes = check(machine(name="NVIDIA H100 80GB HBM3", total=79.2, free=78.0, capability="9.0"))
    assert fraction == pytest.approx(load_gpu("a10g").usable_gib / 79.2, abs=1e-3)
    assert any("capped" in note for note in notes)


def test_a_missing_trainer_names_its_install() -> None:
    facts = machine() | {"versions": VERSIONS | {"axolotl": None}}
    with pytest.raises(RunFailed, match=r"pip install '\.\[axolotl\]'"):
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


# --- the card, in particular ---


def test_who_holds_the_memory_is_named() -> None:
    processes = [{"pid": 11, "name": "python", "gib": 2.0}, {"pid": 12, "name": "vllm", "gib": 17.0}]
    with pytest.raises(RunFailed, match=r"vllm \(process 12\) 17\.0 GiB, python \(process 11\)"):
        check(machine(free=3.0) | {"processes": processes})


def test_a_driver_that_torch_cannot_use_is_told_from_no_card() -> None:
    seen = [{"name": "NVIDIA A10G", "driver": "470.82"}]
    facts = machine() | {"devices": [], "seen": seen, "cuda": "13.0"}
    with pytest.raises(RunFailed, match=r"A10G with driver 470\.82, which torch for CUDA 13\.0 cannot use"):
        check(facts)
    with pytest.raises(RunFailed, match="built for the CPU"):
        check(facts | {"cuda": None})


@pytest.mark.parametrize(
    ("capability", "architectures", "runs"),
    [
        ("8.6", ["sm_80", "sm_90"], True),
        ("8.0", ["sm_86"], False),
        ("7.0", ["sm_75", "sm_80", "sm_120", "compute_120"], False),
        ("12.0", ["sm_80", "compute_90"], True),
        ("9.0", ["sm_90a"], True),
        ("9.0", [], True),
    ],
)
def test_torch_must_have_code_for_the_card(capability: str, architectures: list[str], runs: bool) -> None:
    facts = machine(capability=capability) | {"arch_list": architectures}
    if runs:
        check(facts)
    else:
        with pytest.raises(RunFailed, match="no code for NVIDIA A10G"):
            check(facts)


def test_what_an_older_card_cannot_do_is_refused() -> None:
    with pytest.raises(RunFailed, match="Triton"):
        check(machine(name="NVIDIA V100", total=30, free=30, capability="7.0"), kernels=["liger"])


def test_an_unsupported_trainer_is_refused() -> None:
    with pytest.raises(RunFailed, match=r"axolotl 0\.17"):
        check(machine() | {"unsupported": ["axolotl 0.17.0 is not a version that ql supports: axolotl==0.19.0"]})


@pytest.mark.heavy
def test_the_probe_judges_the_installed_versions() -> None:
    facts = examine(sys.executable, "axolotl")
    assert facts.unsupported == []
    from launcher.jobs.probe import _unsupported

    assert _unsupported(["torch>=99", "no-such-package>=1"])[0].startswith("torch ")
    assert len(_unsupported(["torch>=99", "no-such-package>=1"])) == 1


# --- the base ---


def shard(path: Path, data: int = 4, more: int = 0) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, data]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(data + more))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    weights = {"a": "one.safetensors", "b": "two.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    for name in weights.values():
        shard(folder / name)
    return folder


def test_a_whole_base_passes(base: Path) -> None:
    check_base(str(base))


def test_all_that_a_base_lacks_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(RunFailed) as caught:
        check_base(str(tmp_path))
    for name in ("config.json", "tokenizer", "model.safetensors"):
        assert name in str(caught.value)


def test_every_shard_must_be_there_and_whole(base: Path) -> None:
    (base / "two.safetensors").unlink()
    shard(base / "one.safetensors", more=-1)
    with pytest.raises(RunFailed) as caught:
        check_base(str(base))
    assert "no two.safetensors" in str(caught.value)
    assert "cut off" in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [b"", b"1234567", struct.pack("<Q", 10**12) + b"{}", struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 2) + b"{"],
)
def test_what_is_no_shard_is_refused(base: Path, data: bytes) -> None:
    (base / "one.safetensors").write_bytes(data)
    with pytest.raises(RunFailed, match=r"one\.safetensors"):
        check_base(str(base))


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/passwd", "a/b.safetensors", ""])
def test_an_index_cannot_name_files_elsewhere(base: Path, name: str) -> None:
    (base / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(RunFailed, match="outside of the folder"):
        check_base(str(base))


def test_pickled_weights_are_refused_with_the_way_out(base: Path) -> None:
    (base / "model.safetensors.index.json").unlink()
    (base / "pytorch_model.bin").touch()
    with pytest.raises(RunFailed, match="save them as safetensors"):
        check_base(str(base))


def test_a_base_that_needs_its_own_code_is_refused(base: Path) -> None:
    (base / "config.json").write_text('{"auto_map": {"AutoModelForCausalLM": "modeling_x.X"}}')
    with pytest.raises(RunFailed, match="trust_remote_code is off"):
        check_base(str(base))


MODEL = load_model("llama-3.1-8b")


def test_a_base_out_of_reach_is_said_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    name = "org/model"
    [offline] = reach_problems(name, MODEL, {"HF_HUB_OFFLINE": "1"})
    assert "switched off by HF_HUB_OFFLINE" in offline.message
    [gated] = reach_problems(name, MODEL, {"HF_HOME": str(tmp_path)})
    assert "no Hugging Face token" in gated.message
    assert reach_problems(name, MODEL, {"HF_TOKEN": "hf_x"}) == []
    (tmp_path / "token").write_text("hf_x")
    assert reach_problems(name, MODEL, {"HF_HOME": str(tmp_path)}) == []
    assert reach_problems(name, replace(MODEL, gated=False), {}) == []
    assert reach_problems(str(tmp_path), MODEL, {"HF_HUB_OFFLINE": "1"}) == []


# --- the machine ---


@pytest.fixture(scope="module")
def prepared(tickets: Path) -> Prepared:
    return prepare_asked(Asked(data=str(tickets), preset="cpu-tiny"), sys.executable)


def test_a_place_that_holds_the_run_passes(prepared: Prepared, tmp_path: Path) -> None:
    assert place_problems(prepared, tmp_path / "new" / "runs", download=False, merge=True) == []


def test_a_place_that_the_trainer_would_not_read_is_said_before_the_run(prepared: Prepared, tmp_path: Path) -> None:
    (found,) = place_problems(prepared, tmp_path / "run [1]", download=False, merge=True)
    assert str(tmp_path / "run [1]") in found.message
    assert "--out" in str(found.hint)


def test_a_machine_without_shared_memory_is_said_before_the_run() -> None:
    def refuse() -> Any:
        raise OSError(30, "Read-only file system")

    assert place.semaphore_problems("Axolotl") == []
    (found,) = place.semaphore_problems("Axolotl", refuse)
    assert "Read-only file system" in found.message
    assert "/dev/shm" in str(found.hint)


def test_a_full_disk_and_a_small_host_are_said_before_the_run(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    monkeypatch.setattr(place, "available_memory", lambda: 1000)
    found = place_problems(prepared, tmp_path, download=True, merge=True)
    assert [problem.message.split()[1] for problem in found] == ["run", "base", "merge"]
    assert all(problem.hint for problem in found)
    assert len(place_problems(prepared, tmp_path, download=False, merge=False)) == 1


def test_a_place_that_cannot_be_written_is_said_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(place.tempfile, "TemporaryFile", refuse)
    with pytest.raises(Unreadable, match="Permission denied"):
        require_writable(tmp_path / "new")


def test_a_containers_limit_counts(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 100 kB\nMemAvailable: 90 kB\n")
    assert place.available_memory(tmp_path) == 90 * 1024
    group = tmp_path / "sys" / "fs" / "cgroup"
    group.mkdir(parents=True)
    for name, text in (("memory.max", "50000"), ("memory.current", "30000"), ("memory.stat", "inactive_file 5000\n")):
        (group / name).write_text(text)
    assert place.available_memory(tmp_path) == 25000


def test_everything_is_said_at_once(prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    facts = {"versions": VERSIONS | {"axolotl": None}, "executable": "python", "devices": []}
    with pytest.raises(RunFailed) as caught:
        check_start(prepared, environment(facts), tmp_path, merge=False)
    assert len(caught.value.problems) == 2
