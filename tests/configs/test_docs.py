from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from launcher.json_schema import load_schema
from launcher.resources import resource
from launcher.trainers.axolotl.releases import RELEASES
from launcher.trainers.releases import Release

ROOT = Path(__file__).resolve().parents[2]


def test_the_pages_are_what_the_program_prints() -> None:
    script = ROOT / "scripts" / "make_rules_doc.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def used_keys() -> set[str]:
    """Words that are Axolotl's keys if they are keys: those that our template writes or a rule reads."""
    template = resource("templates", "axolotl/config.yaml.j2").read_text(encoding="utf-8")
    keys = set(re.findall(r"^([a-z_]\w+):", template, re.MULTILINE))
    for path in (ROOT / "launcher" / "trainers" / "axolotl" / "rules").glob("*.py"):
        keys |= set(re.findall(r'c\.(?:get|has|mapping|key|at)\("(\w+)"', path.read_text(encoding="utf-8")))
    return keys


@pytest.mark.parametrize("release", RELEASES[-3:], ids=lambda release: release.name)
def test_every_key_that_is_used_is_described(release: Release) -> None:
    properties = load_schema(release.schema)["properties"]
    used = used_keys() & set(properties)
    assert len(used) > 100
    assert sorted(key for key in used if not properties[key].get("description")) == []


def test_every_description_is_of_a_key() -> None:
    """A description that no supported version has a key for is a leftover."""
    table = yaml.safe_load((ROOT / "scripts" / "axolotl_descriptions.yaml").read_text(encoding="utf-8"))
    schemas = [load_schema(release.schema) for release in RELEASES]
    for model, texts in table.items():
        for schema in schemas:
            known = schema["properties"] if model == "config" else schema["$defs"][model]["properties"]
            texts = {key: text for key, text in texts.items() if key not in known}
        assert texts == {}, model


@pytest.mark.parametrize("name", [".pre-commit-hooks.yaml", "action.yml"])
def test_hooks_call_the_program_as_it_is(name: str) -> None:
    from launcher.cli.validate import command

    text = (ROOT / name).read_text(encoding="utf-8")
    yaml.safe_load(text)
    options = {option for parameter in command.params for option in parameter.opts}
    used = set(re.findall(r"ql validate((?: --[\w-]+)+)", text))
    assert {option for found in used for option in found.split()} <= options
    assert used


def test_no_prose_of_axolotl_is_in_the_schemas() -> None:
    table = yaml.safe_load((ROOT / "scripts" / "axolotl_descriptions.yaml").read_text(encoding="utf-8"))
    ours = {text for texts in table.values() for text in texts.values()}
    for release in RELEASES:
        text = resource("schemas", f"{release.schema}.json").read_text(encoding="utf-8")
        import json

        assert {json.loads(f'"{found}"') for found in re.findall(r'"description": "((?:[^"\\]|\\.)*)"', text)} <= ours
