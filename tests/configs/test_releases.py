"""Which release a config is checked for, and what is said of keys that another one has."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from launcher.configs.releases import NamedRelease, named_releases
from launcher.configs.validate import Options, check_source, check_text
from launcher.errors import Unreadable
from launcher.trainers import get_trainer, installed

GOOD = """\
base_model: mistralai/Mistral-7B-v0.3
adapter: qlora
load_in_4bit: true
lora_r: 16
lora_alpha: 32
lora_target_linear: true
lora_mlp_kernel: true
datasets: [{path: a.jsonl, type: completion}]
sequence_len: 2048
excess_length_strategy: truncate
micro_batch_size: 2
gradient_accumulation_steps: 8
learning_rate: 0.0002
"""
NEWEST = get_trainer("axolotl").newest_known


def only(text: str, code: str, **options: object) -> tuple[str, str, str]:
    """Severity, message and hint of the one finding with that code."""
    [found] = [one for one in check_text(text, file="config.yaml", **options) if one.code == code]  # type: ignore[arg-type]
    return found.severity, found.message, found.hint


def test_where_nobody_says_it_the_newest_counts() -> None:
    assert check_text(GOOD + "eval_on_start: false\n", file="config.yaml") == []
    assert NEWEST.name == "0.21"


def test_a_key_of_a_later_release_is_told_so() -> None:
    severity, message, hint = only(GOOD + "use_dft: true\n", "QL101", versions={"axolotl": "0.19"})
    assert (severity, message) == ("error", "Axolotl 0.19 has no key 'use_dft'")
    assert hint == "Axolotl has it since 0.20; this is checked as 0.19"


def test_so_is_one_inside_another_and_a_value() -> None:
    weighted = GOOD.replace("type: completion", "type: completion, weight: 0.5")
    assert only(weighted, "QL101", versions={"axolotl": "0.19"})[2].startswith("Axolotl has it since 0.20")
    muon = GOOD + "optimizer: muon_8bit\n"
    assert (
        only(muon, "QL103", versions={"axolotl": "0.20"})[2] == "Axolotl takes it since 0.21; this is checked as 0.20"
    )


def test_a_key_that_is_gone_is_told_with_what_takes_its_place() -> None:
    severity, message, hint = only(GOOD + "fsdp: [full_shard]\n", "QL101")
    assert (severity, message) == ("error", "Axolotl 0.21 has no key 'fsdp'")
    assert hint == "gone since 0.20: use fsdp_config; this is checked as 0.21"
    nothing = only(GOOD + "fsdp_config: {use_orig_params: true}\n", "QL101")[2]
    assert nothing == "gone since 0.20: nothing takes its place; this is checked as 0.21"


def test_a_key_that_no_release_has_is_unknown() -> None:
    assert only(GOOD + "lora_rr: 1\n", "QL101") == ("error", "unknown key 'lora_rr'", "did you mean lora_r?")


def test_the_header_says_it_and_is_named() -> None:
    text = "# ql: axolotl 0.18\n" + GOOD + "ple_cpu_offload: false\n"
    assert only(text, "QL101")[2] == "Axolotl has it since 0.19; the file's header says 0.18"


def test_a_newer_release_is_a_warning_and_an_older_one_is_refused() -> None:
    severity, message, _ = only("# ql: axolotl 0.99\n" + GOOD, "QL011")
    assert (severity, message) == (
        "warning",
        "Axolotl 0.99 is newer than what ql was tested with: checked as 0.21",
    )
    header = only("# ql: axolotl 0.16\n" + GOOD, "QL009")
    assert header == (
        "error",
        "no schema for Axolotl 0.16 (the file's header says 0.16)",
        "known: 0.17, 0.18, 0.19, 0.20, 0.21",
    )
    with pytest.raises(Unreadable, match=r"no schema for Axolotl 0\.16"):
        check_text(GOOD, file="config.yaml", versions={"axolotl": "0.16"})


def test_what_the_environment_has_counts_before_the_header() -> None:
    options = Options(versions={"axolotl": NamedRelease((0, 19), "environment")})
    found = check_source("# ql: axolotl 0.21\n" + GOOD + "eval_on_start: false\n", "config.yaml", options) or []
    assert [one.hint for one in found if one.code == "QL101"] == [
        "Axolotl has it since 0.21; this environment has 0.19"
    ]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment with nothing but the metadata of an Axolotl, on the path of this process and of what it starts."""
    (tmp_path / "axolotl-0.20.1.dist-info").mkdir()
    (tmp_path / "axolotl-0.20.1.dist-info" / "METADATA").write_text("Name: axolotl\nVersion: 0.20.1\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_an_environment_is_read_by_its_metadata(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert installed.here("axolotl") == (0, 20)
    assert installed.there(sys.executable, ["axolotl", "no-such-thing"]) == {"axolotl": (0, 20)}
    monkeypatch.setattr(sys, "path", [str(environment / "nowhere")])
    assert installed.here("axolotl") is None


def test_who_names_a_release_and_in_which_order(environment: Path) -> None:
    found = NamedRelease((0, 20), "environment")
    assert named_releases(None, None, {}) == {"axolotl": found}
    assert named_releases(sys.executable, None, {}) == {"axolotl": found}
    assert named_releases(None, "0.21", {}) == {"axolotl": NamedRelease((0, 21), "option")}
    assert named_releases(None, None, {"axolotl": "0.19"}) == {"axolotl": NamedRelease((0, 19), "option")}
    assert named_releases(sys.executable, "0.20", {}) == {"axolotl": found}
    with pytest.raises(Unreadable, match=r"has Axolotl 0\.20, and 0\.21 was asked for"):
        named_releases(sys.executable, "0.21", {})


def test_a_python_that_is_none_or_has_no_trainer_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unreadable, match="cannot run"):
        named_releases(str(tmp_path / "python"), None, {})
    monkeypatch.setattr(installed, "there", lambda python, names: {})
    with pytest.raises(Unreadable, match="has no Axolotl and no Unsloth"):
        named_releases(sys.executable, None, {})


def test_what_no_release_names_has_the_old_diffusion_plugin_mended() -> None:
    old = GOOD + "plugins: [axolotl.integrations.diffusion.DiffusionPlugin]\nwarmup_steps: 0.1\nsave_strategy: best\n"
    codes = {one.code for one in check_text(old, file="config.yaml", versions={"axolotl": "0.20"})}
    assert {"QL102", "QL318"} <= codes
    codes = {one.code for one in check_text(old, file="config.yaml", versions={"axolotl": "0.21"})}
    assert not {"QL102", "QL318"} & codes
