"""What is recorded of the installed Axolotl is still so: its verdicts, its schema, its facts.

tests/trainers/axolotl/test_verdicts.py holds ql's own verdicts against the recorded ones, of every release.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import release_facts
from launcher.trainers.axolotl.releases import RELEASES

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).resolve().parents[2]
BENCHMARK = ROOT / "benchmarks" / "validate"
ENVIRONMENT = os.environ | {"AXOLOTL_DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2"}
FACTS = "import sys, release_facts as r; package, version = r.imported(); print(r.render(r.facts_of(package, version)))"


def python(*arguments: str | Path) -> str:
    """What the trainer's Python prints."""
    command = [sys.executable, *map(str, arguments)]
    environment = ENVIRONMENT | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "scripts")])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def version() -> str:
    """The installed release, such as 0.19."""
    name = ".".join(metadata.version("axolotl").split(".")[:2])
    assert name in [release.name for release in RELEASES]
    return name


def test_the_recorded_verdicts_are_those_of_the_installed_axolotl(version: str, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    python(BENCHMARK / "differential.py", "--out", out)
    made = json.loads(out.read_text(encoding="utf-8"))["rows"]
    recorded = json.loads((BENCHMARK / "results" / f"axolotl-{version}.json").read_text(encoding="utf-8"))["rows"]

    def verdicts(rows: list[dict[str, Any]]) -> dict[str, tuple[str, bool, list[str]]]:
        return {row["case"]: (row["text"], row["axolotl"] is None, row["gone"]) for row in rows}

    assert len(made) >= 300
    assert verdicts(made) == verdicts(recorded)


def test_the_schema_is_that_of_the_installed_axolotl(tmp_path: Path) -> None:
    python(ROOT / "scripts" / "make_axolotl_schema.py", "--output", tmp_path)
    [made] = tmp_path.glob("axolotl-*.json")
    assert made.read_text(encoding="utf-8") == (ROOT / "schemas" / made.name).read_text(encoding="utf-8")


def test_the_facts_are_those_of_the_installed_axolotl(version: str) -> None:
    printed = python("-c", FACTS)
    assert json.loads(printed[printed.index("{") :]) == release_facts.read(version)
