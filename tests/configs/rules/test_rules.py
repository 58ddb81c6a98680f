from __future__ import annotations

import inspect
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.configs.rules import all_rules
from launcher.configs.validate import check_text

RULES = all_rules()
CASES = runpy.run_path(str(Path(__file__).with_name("cases.py")))
NEWER = runpy.run_path(str(Path(__file__).with_name("cases_newer.py")))
VERSIONS = {
    "QL362": "0.18",
    "QL602": "0.17",
    "QL347": "0.19",
}  # rules of older Axolotls; the others are tried with the newest


def text(changes: dict[str, Any]) -> str:
    data = {key: value for key, value in (CASES["BASE"] | changes).items() if value is not None}
    return yaml.safe_dump(data, sort_keys=False)


def codes(changes: dict[str, Any], *, version: str | None = None, gpu: str | None = None) -> list[str]:
    versions = {"axolotl": version} if version else {}
    found = check_text(text(changes), file="config.yaml", kind="axolotl", versions=versions, gpu=gpu)
    return [finding.code for finding in found]


def test_every_rule_has_a_bad_and_a_good_config() -> None:
    elsewhere = [
        code for code in RULES if code >= "QL801" or code == "QL512"
    ]  # test_data_rules.py, test_stored_base.py
    assert sorted(RULES) == sorted([*CASES["CASES"], *NEWER["CASES"], *CASES["CARD_CASES"], *elsewhere])


def test_the_good_config_is_good() -> None:
    assert codes({}) == []


@pytest.mark.parametrize("code", sorted(CASES["CASES"]))
def test_rule(code: str) -> None:
    bad, good = CASES["CASES"][code]
    assert code in codes(bad, version=VERSIONS.get(code))
    assert code not in codes(good, version=VERSIONS.get(code))


@pytest.mark.parametrize("code", sorted(NEWER["CASES"]))
def test_rule_of_a_newer_key(code: str) -> None:
    version, bad, good = NEWER["CASES"][code]
    assert code in codes(bad, version=version)
    assert code not in codes(good, version=version)
    since = RULES[code].since
    older = {"0.20": "0.19", "0.21": "0.20"}.get(f"{since[0]}.{since[1]}")
    assert older is None or code not in codes(bad, version=older)


@pytest.mark.parametrize(("code", "version", "changes", "speaks"), NEWER["OTHERWISE"])
def test_a_rule_follows_its_release(code: str, version: str, changes: dict[str, Any], speaks: bool) -> None:
    assert (code in codes(changes, version=version)) is speaks


@pytest.mark.parametrize("code", sorted(CASES["CARD_CASES"]))
def test_rule_of_a_card(code: str) -> None:
    bad_card, good_card, changes = CASES["CARD_CASES"][code]
    assert code in codes(changes, gpu=bad_card)
    assert code not in codes(changes, gpu=good_card)
    assert code not in codes(changes), "without --gpu nothing is said of cards"


@pytest.mark.parametrize("code", sorted(RULES))
def test_a_rule_documents_itself(code: str) -> None:
    rule = RULES[code]
    assert re.fullmatch(r"QL\d{3}", code)
    assert rule.title.endswith("."), "the first line says what is wrong"
    assert rule.why, "the second paragraph says why it matters"
    assert len(inspect.getsource(rule.check).splitlines()) < 45, "a rule is one small function"


@pytest.mark.parametrize(("code", "version"), [("QL361", "0.18"), ("QL340", "0.18"), ("QL601", "0.17")])
def test_a_rule_keeps_to_its_versions(code: str, version: str) -> None:
    bad, _ = CASES["CASES"][code]
    assert code not in codes(bad, version=version)
    assert code in codes(bad)


@pytest.mark.parametrize("base", ["./prompts/my-base", "/home/me/Prompt-Tuning/llama"])
def test_a_folder_that_axolotl_takes_for_an_mpt_model_is_named(base: str) -> None:
    changes = {"base_model": base, "gradient_checkpointing": True}
    found = check_text(text(changes), file="config.yaml", kind="axolotl")
    (one,) = [finding for finding in found if finding.code == "QL337"]
    assert base in one.message
    assert "link" in one.hint
    assert "QL337" not in codes({**changes, "gradient_checkpointing": False})


def test_a_value_of_the_wrong_type_is_reported_once() -> None:
    assert codes({"lora_r": [1]}) == ["QL102"]


def test_pydantics_conversions_are_no_errors() -> None:
    loose = {"lora_r": "16", "learning_rate": "2e-4", "load_in_4bit": "yes", "num_epochs": 3, "micro_batch_size": 2.0}
    assert codes(loose) == []


@pytest.mark.parametrize(
    ("name", "family"),
    [("google/gemma-3-4b-it", "gemma3"), ("Qwen/Qwen2.5-0.5B", "qwen2"), ("someone/Qwen3-30B-A3B", "qwen3_moe")],
)
def test_a_family_is_known_by_its_name(name: str, family: str) -> None:
    found = check_text(text({"base_model": name, "bf16": False, "fp16": True}), file="x.yaml")
    assert [f.message.split()[0] for f in found if f.code == "QL701"] == [family]


def test_a_local_folder_tells_its_architecture(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text('{"model_type": "gemma2", "max_position_embeddings": 1024}')
    path = tmp_path / "config.yaml"
    found = check_text(text({"base_model": "base", "bf16": False, "fp16": True}), file=str(path))
    assert {"QL701", "QL707"} <= {finding.code for finding in found}
