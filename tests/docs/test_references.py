"""The pages that are made from the program are what the program says now."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
from make_references import ROOT, out_of_date, wanted
from references.commands import commands_page
from references.errors import CODES, errors_page, messages
from references.schemas import schemas_page


def test_every_generated_page_is_up_to_date() -> None:
    found = out_of_date(wanted())
    assert not found, "run `make references`\n" + "\n".join(found)


def test_every_verb_and_option_is_in_the_reference() -> None:
    from launcher.cli.main import VERBS, main

    page = commands_page()
    for verb in VERBS:
        section = page.partition(f"\n## ql {verb}\n")[2].partition("\n## ")[0]
        command = main.get_command(None, verb)  # type: ignore[arg-type]
        assert command is not None
        for parameter in command.params:
            for name in parameter.opts if parameter.param_type_name == "option" else ():
                assert f"`{name}`" in section, f"{verb} {name}"


def test_the_readme_names_every_verb() -> None:
    from launcher.cli.main import VERBS

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [verb for verb in VERBS if f"`ql {verb}" not in text and verb != "completion"]
    assert not missing


def test_every_key_of_every_schema_is_in_the_reference() -> None:
    page = schemas_page()
    for path in (ROOT / "schemas").glob("*.json"):
        assert path.name in page
        if not path.name.startswith("axolotl-"):
            section = page.partition(f"\n## {path.name}\n")[2].partition("\n## ")[0]
            for key in json.loads(path.read_text(encoding="utf-8")).get("properties", {}):
                assert f"`{key}`" in section, f"{path.name}: {key}"


def test_a_bound_is_shown_in_full() -> None:
    assert "| `seed` | integer ≥ 0, ≤ 4294967295 |" in schemas_page()


def test_errors_are_read_off_the_source(tmp_path: Path) -> None:
    module = ROOT / "launcher" / "runs" / "results" / "pushing.py"
    found = {message.text: (code, message.hint) for code, message in messages(module, CODES)}
    assert found["gate … missed: …"] == (0, "")
    assert found["not uploaded"][1].startswith("--missed-gates")
    text = next(text for text in found if text.endswith("has no …/"))
    assert found[text][0] == 3
    config = {
        message.text: message.hint
        for _, message in messages(ROOT / "launcher" / "preparing" / "config_flags.py", CODES)
    }
    assert config["trains on … here, and --data becomes …"] == "leave the flag out, or edit the file"
    machine = {message.hint for _, message in messages(ROOT / "launcher" / "runs" / "preflight" / "machine.py", CODES)}
    assert len(machine) == 8, "each hint is that of its own message, though all are called `hint`"
    page = errors_page()
    assert page.count("\n## ") == 5
    for kind in ("oom_train", "fp16_overflow", "stall"):
        assert f"| `{kind}` |" in page
    assert "ran out of GPU memory" in page.partition("## Exit code 3")[2], "said by a class derived from RunFailed"
    for name in CODES:
        assert name != "RunFailed" or "Exit code 3" in page
    assert len(re.findall(r"^\| ", page, re.MULTILINE)) > 150
