"""ql's verdicts held against the installed Axolotl's: on a corpus, on its schema, on its list of validators."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.configs.rules import RULES

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).resolve().parents[2]
BENCHMARK = ROOT / "benchmarks" / "validate"
ENVIRONMENT = os.environ | {"AXOLOTL_DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2"}
LIST_VALIDATORS = """
from axolotl.utils.schemas.config import AxolotlConfigWCapabilities
from axolotl.utils.schemas.datasets import SFTDataset
for model in (AxolotlConfigWCapabilities, SFTDataset):
    decorators = model.__pydantic_decorators__
    for table in (decorators.model_validators, decorators.field_validators):
        for decorator in table.values():
            print("validator", getattr(decorator.func, "__func__", decorator.func).__qualname__)
"""


def python(*arguments: str | Path) -> str:
    """What the trainer's Python prints."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("differential") / "out.json"
    python(BENCHMARK / "differential.py", out)
    result: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return result


def test_the_corpus_is_large_enough(verdicts: dict[str, Any]) -> None:
    assert verdicts["counts"]["configs"] >= 300
    assert verdicts["counts"]["valid"] >= 50


def test_what_axolotl_refuses_ql_refuses(verdicts: dict[str, Any]) -> None:
    assert [row["case"] for row in verdicts["rows"] if row["axolotl"] and not row["ql"]] == []


def test_no_false_alarm_on_valid_configs(verdicts: dict[str, Any]) -> None:
    valid = [row for row in verdicts["rows"] if row["fault"] is None]
    assert [(row["case"], row["axolotl"]) for row in valid if row["axolotl"]] == [], "the corpus itself is valid"
    assert [(row["case"], row["ql"]) for row in valid if row["ql"]] == []


def test_each_fault_is_named(verdicts: dict[str, Any]) -> None:
    unnamed = [(row["case"], row["expected"], row["ql"]) for row in verdicts["rows"] if row["fault"]]
    assert [row for row in unnamed if row[1] not in row[2]] == []


def test_errors_that_axolotl_takes_are_documented(verdicts: dict[str, Any]) -> None:
    evidence = yaml.safe_load((BENCHMARK / "evidence.yaml").read_text(encoding="utf-8"))
    silent = {code for row in verdicts["rows"] if row["axolotl"] is None for code in row["ql"]}
    assert silent == set(evidence)


def test_keys_called_dropped_are_dropped(verdicts: dict[str, Any]) -> None:
    dropped = [(row["case"], key, gone) for row in verdicts["rows"] for key, gone in row["dropped"].items()]
    assert len(dropped) > 5
    assert [item for item in dropped if not item[2]] == []


def test_the_committed_result_is_this_one(verdicts: dict[str, Any]) -> None:
    committed = json.loads((BENCHMARK / "differential.json").read_text(encoding="utf-8"))
    assert committed["counts"] == verdicts["counts"]


def test_the_schema_is_that_of_the_installed_axolotl(tmp_path: Path) -> None:
    python(ROOT / "scripts" / "make_axolotl_schema.py", "--output", tmp_path)
    [made] = tmp_path.glob("axolotl-*.json")
    assert made.read_text(encoding="utf-8") == (ROOT / "schemas" / made.name).read_text(encoding="utf-8")


def test_no_validator_of_axolotl_is_forgotten() -> None:
    installed = {
        line.split()[1] for line in python("-c", LIST_VALIDATORS).splitlines() if line.startswith("validator ")
    }
    covered = {name for rule in RULES.values() for name in rule.axolotl}
    explained = set(yaml.safe_load((ROOT / "scripts" / "axolotl_validators.yaml").read_text(encoding="utf-8")))
    plugins = {name for name in covered if name.split(".")[0].endswith("Args")}  # Liger's and CutCrossEntropy's
    assert len(installed) > 150
    assert covered & explained == set()
    assert installed == (covered - plugins) | explained
