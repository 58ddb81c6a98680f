"""ql's verdicts held against the installed Axolotl's: on a corpus, on its schema, on its list of validators."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.configs.rules import all_rules

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).resolve().parents[2]
BENCHMARK = ROOT / "benchmarks" / "validate"
ENVIRONMENT = os.environ | {"AXOLOTL_DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2"}
# Where Axolotl keeps what it refuses and warns of: its schemas, and the arguments of the plugins that ql knows.
SCHEMAS = ("utils/schemas/**/*.py", "integrations/liger/args.py", "integrations/cut_cross_entropy/args.py")


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


def validators(root: Path) -> set[str]:
    """Every validator in Axolotl's source, as Class.method: nested models and unused classes too."""
    found = set()
    for path in sorted(path for pattern in SCHEMAS for path in root.glob(pattern)):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                methods = [item for item in node.body if isinstance(item, ast.FunctionDef)]
                found |= {f"{node.name}.{item.name}" for item in methods if _validates(item)}
    return found


def _validates(method: ast.FunctionDef) -> bool:
    return any("validator" in ast.unparse(decorator) for decorator in method.decorator_list)


def test_no_validator_of_axolotl_is_forgotten() -> None:
    spec = importlib.util.find_spec("axolotl")
    assert spec is not None
    assert spec.submodule_search_locations
    installed = validators(Path(spec.submodule_search_locations[0]))
    covered = {name for rule in all_rules().values() for name in rule.upstream}
    explained = set(yaml.safe_load((ROOT / "scripts" / "axolotl_validators.yaml").read_text(encoding="utf-8")))
    assert len(installed) > 170
    assert covered & explained == set()
    assert installed - covered - explained == set(), "validators that docs/rules.md does not list"
    assert (covered | explained) - installed == set(), "validators that Axolotl does not have any more"
