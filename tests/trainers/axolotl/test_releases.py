"""The releases as data: each entry against the facts that scripts/new_release.py recorded of that Axolotl."""

from __future__ import annotations

import ast
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

import new_release
import release_facts
from launcher.configs.rules import all_rules
from launcher.json_schema import load_schema
from launcher.trainers import get_trainer
from launcher.trainers.axolotl.releases import RELEASES
from launcher.trainers.releases import Release, defaults_in

ROOT = Path(__file__).resolve().parents[3]
RECORDED = [release for release in RELEASES if release.pins]
PAIRS = list(pairwise(RECORDED))
NOTES = yaml.safe_load((ROOT / "scripts" / "axolotl_validators.yaml").read_text(encoding="utf-8"))
NOT_IN_THE_SCHEMA = {"gradient_checkpointing_kwargs.use_reentrant"}  # set while the config is made ready


def ids(value: Any) -> str:
    return value.name if isinstance(value, Release) else str(value)


def test_every_recorded_release_has_an_entry() -> None:
    assert [release.name for release in RECORDED] == release_facts.recorded()


def test_the_versions_rise() -> None:
    assert [release.version for release in RELEASES] == sorted({release.version for release in RELEASES})
    assert get_trainer("axolotl").newest_known is RELEASES[-1]


@pytest.mark.parametrize("release", RECORDED, ids=ids)
def test_an_entry_says_what_its_axolotl_is(release: Release) -> None:
    facts = release_facts.read(release.name)
    assert release.python == facts["python"]
    assert list(release.always_on) == facts["always_on"]
    assert release.adapters == facts["adapters"]
    assert dict(release.pins) == {name: facts["pins"][name] for name in release.pins}
    assert {"transformers", "datasets", "peft", "trl"} <= set(release.pins)
    assert load_schema(release.schema)["$id"] == f"{release.schema}.json"


@pytest.mark.parametrize(("old", "new"), PAIRS, ids=ids)
def test_defaults_are_those_that_differ(old: Release, new: Release) -> None:
    before, after = (release_facts.read(release.name)["defaults"] for release in (old, new))
    differ = {key: after[key] for key in before if key in after and before[key] != after[key] and "." not in key}
    said = {key: changed.default for key, changed in new.defaults.items() if key not in NOT_IN_THE_SCHEMA}
    assert said == {key: ast.literal_eval(value) for key, value in differ.items()}
    assert all(changed.evidence for changed in new.defaults.values())


@pytest.mark.parametrize(("old", "new"), PAIRS, ids=ids)
def test_keys_that_are_gone_are_told(old: Release, new: Release) -> None:
    gone = new_release.Difference(
        new_release.flat(load_schema(old.schema)), new_release.flat(load_schema(new.schema))
    ).gone
    assert {key.replace("FSDPConfig.", "fsdp_config.") for key in gone} == set(new.gone)


def test_facts_have_their_evidence() -> None:
    facts = [fact for release in RELEASES for fact in release.facts]
    assert len(facts) > 5
    assert all(fact.what.endswith(".") and fact.evidence for fact in facts)


def test_a_default_holds_until_another_release_changes_it() -> None:
    assert [defaults_in(RELEASES, release.version).get("fsdp_version") for release in RELEASES] == [
        None, None, None, 2, 2,
    ]  # fmt: skip


def test_what_was_not_run_is_not_called_launched() -> None:
    assert [release.name for release in RELEASES if release.launched] == ["0.19"]
    assert get_trainer("axolotl").newest.name == "0.19"


@pytest.mark.parametrize("release", RECORDED, ids=ids)
def test_no_validator_is_forgotten(release: Release) -> None:
    names = set(release_facts.read(release.name)["validators"])
    covered = {name for rule in all_rules().values() for name in rule.upstream}
    assert len(names) > 170
    assert names - covered - set(NOTES) == set(), "validators that docs/rules.md does not list"


def test_no_validator_is_listed_that_no_release_has() -> None:
    names = {name for release in RECORDED for name in release_facts.read(release.name)["validators"]}
    covered = {name for rule in all_rules().values() for name in rule.upstream}
    assert covered & set(NOTES) == set()
    assert (covered | set(NOTES)) - names == set()
