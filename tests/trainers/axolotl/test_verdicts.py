"""ql's verdicts of today against the recorded ones of the real Axolotl, release by release, without an Axolotl.

tests/acceptance/test_validate_differential.py asks the installed one again.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.configs.validate import check_text
from launcher.trainers import get_trainer
from load_script import load_script

ROOT = Path(__file__).resolve().parents[3]
BENCHMARK = ROOT / "benchmarks" / "validate"
RESULTS = sorted((BENCHMARK / "results").glob("axolotl-*.json"))
VERSIONS = [path.stem.removeprefix("axolotl-") for path in RESULTS]
DROPPED = ("QL101", "QL201", "QL202")  # ql says: Axolotl drops the key in silence
MISSING = ("ImportError", "ModuleNotFoundError")  # a package was missing where it ran: no verdict on the config
EVIDENCE = yaml.safe_load((BENCHMARK / "evidence.yaml").read_text(encoding="utf-8"))


def result(version: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((BENCHMARK / "results" / f"axolotl-{version}.json").read_text(encoding="utf-8"))
    return body


@functools.cache
def replayed(version: str) -> list[dict[str, Any]]:
    """The recorded rows, with what ql says now of the same text."""
    differential = load_script(BENCHMARK / "differential.py")
    major, minor = map(int, version.split("."))
    cases = {case.name: case.text for case in differential.corpus_of((major, minor))}
    rows = []
    for row in result(version)["rows"]:
        text = cases.pop(row["case"])
        assert differential.digest(text) == row["text"], f"{row['case']} is another config now: record it again"
        found = check_text(text, file="config.yaml", kind="axolotl", versions={"axolotl": version})
        errors = [finding for finding in found if finding.severity == "error"]
        dropped = [finding.path for finding in errors if finding.code in DROPPED]
        rows.append({**row, "ql": sorted({finding.code for finding in errors}), "dropped": dropped})
    assert not cases, "cases that Axolotl was not asked about: record them"
    return rows


def test_every_release_that_is_not_an_old_one_was_asked() -> None:
    known = [release.name for release in get_trainer("axolotl").releases if release.pins]
    assert known == VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
def test_the_corpus_is_large_enough(version: str) -> None:
    counts = result(version)["counts"]
    assert counts["configs"] >= 300
    assert counts["valid"] >= 50


@pytest.mark.parametrize("version", VERSIONS)
def test_what_axolotl_refuses_ql_refuses(version: str) -> None:
    assert [row["case"] for row in replayed(version) if row["axolotl"] and not row["ql"]] == []


@pytest.mark.parametrize("version", VERSIONS)
def test_no_false_alarm_on_what_it_takes(version: str) -> None:
    valid = [row for row in replayed(version) if row["fault"] is None]
    assert [(row["case"], row["axolotl"]) for row in valid if row["axolotl"]] == [], "the corpus itself is valid"
    assert [(row["case"], row["ql"]) for row in valid if row["ql"]] == []


@pytest.mark.parametrize("version", VERSIONS)
def test_each_fault_is_named(version: str) -> None:
    rows = [row for row in replayed(version) if row["fault"]]
    assert [(row["case"], row["expected"], row["ql"]) for row in rows if row["expected"] not in row["ql"]] == []


@pytest.mark.parametrize("version", VERSIONS)
def test_keys_called_dropped_are_dropped(version: str) -> None:
    rows = [row for row in replayed(version) if row["axolotl"] is None]
    assert [(row["case"], path) for row in rows for path in row["dropped"] if path not in row["gone"]] == []
    assert sum(len(row["dropped"]) for row in rows) > 5


def test_errors_that_axolotl_takes_are_documented() -> None:
    silent = {code for version in VERSIONS for row in replayed(version) if not row["axolotl"] for code in row["ql"]}
    assert silent == set(EVIDENCE)


@pytest.mark.parametrize("version", VERSIONS)
def test_published_examples(version: str) -> None:
    """Their texts are not kept: what is held is what was recorded."""
    published = result(version)["examples"]
    assert published["counts"]["configs"] > 250
    rows = published["rows"]
    refused = [row for row in rows if row["axolotl"] and not row["axolotl"].startswith(MISSING)]
    assert [row["file"] for row in refused if not row["ql"]] == []
    assert [(row["file"], row["not_gone"]) for row in rows if row["not_gone"]] == []
    taken = [error for row in rows if not row["axolotl"] for error in row["ql"]]
    assert {error.split()[0] for error in taken} <= set(EVIDENCE)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_ql_renders_for_a_release_is_taken_by_it(version: str) -> None:
    """tests/trainers/test_codec.py renders it again, and holds ql's own verdict against that."""
    assert result(version)["rendered"]["configs"] > 100
    assert result(version)["rendered"]["refused, or keys dropped"] == {}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_record_names_its_machine_and_no_place_on_it(version: str) -> None:
    body = result(version)
    assert body["release"] == version
    assert body["machine"]["cpu"]
    assert body["machine"]["versions"]["axolotl"].startswith(version + ".")
    assert "/root" not in json.dumps(body)
    assert "/tmp" not in json.dumps(body)
