from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for

from launcher.cli.main import main
from launcher.configs.catalogue import codes, explain
from launcher.configs.check_files import check_files
from launcher.configs.findings import Finding, errors_of, path_text, refuse_errors
from launcher.configs.fix import apply_fixes
from launcher.configs.formats import FORMATS, counts, summary
from launcher.configs.validate import check_text
from launcher.errors import BadInput, Unreadable

BAD = """\
base_model: meta-llama/Llama-2-7b-hf
adapter: lora
load_in_4bit: true
lora_rank: 16   # how many
lora_alpha: 32
flash_attention: true
datasets: [{path: a.jsonl, type: chat_template}]
learning_rate: 2e-4
"""


def findings() -> list[Finding]:
    return check_text(BAD, file="my configs/c%d.yaml")


def written(name: str) -> str:
    found = findings()
    return FORMATS[name](found, {"my configs/c%d.yaml": BAD.split("\n")}, 1)


def test_text_has_an_excerpt_and_a_caret() -> None:
    lines = written("text").splitlines()
    at = next(index for index, line in enumerate(lines) if "QL101" in line)
    assert lines[at].startswith("my configs/c%d.yaml:4:1: error QL101 ")
    assert lines[at + 1 : at + 4] == [
        "    4 | lora_rank: 16   # how many",
        "      | ^^^^^^^^^",
        "  fix: it is called lora_r here",
    ]
    assert lines[-1] == summary(findings(), 1)


def test_text_says_why_once_for_each_file() -> None:
    text = BAD.replace("lora_alpha", "lora_alfa").replace("learning_rate", "lr")
    found = [one for name in ("a.yaml", "b.yaml") for one in check_text(text, file=name) if one.code == "QL101"]
    assert len(found) == 6
    assert FORMATS["text"](found, {}, 2).count("  why: ") == 2
    assert all(item["why"] for item in json.loads(FORMATS["json"](found, {}, 2))["findings"])


def test_colour_is_only_added() -> None:
    plain = FORMATS["text"](findings(), {}, 1)
    coloured = FORMATS["text"](findings(), {}, 1, colour=True)
    assert "\033[31m" in coloured
    import re

    assert re.sub(r"\033\[\d+m", "", coloured) == plain


def test_json_is_the_findings() -> None:
    body = json.loads(written("json"))
    assert body["counts"] == counts(findings())
    assert body["findings"] == [finding.to_dict() for finding in findings()]
    assert body["files"] == 1


def test_github_annotations_escape() -> None:
    line = next(line for line in written("github").splitlines() if "QL101" in line)
    assert line.startswith("::error file=my configs/c%25d.yaml,line=4,col=1,endColumn=10,title=ql QL101::unknown key")
    assert "%0Afix: " in line


def test_sarif_keeps_to_the_standard() -> None:
    schema = json.loads(Path(__file__).with_name("sarif-2.1.0-part.json").read_text(encoding="utf-8"))
    log = json.loads(written("sarif"))
    assert [error.message for error in Draft202012Validator(schema).iter_errors(log)] == []
    [run] = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in run["results"])
    assert {result["ruleId"] for result in run["results"] if "fixes" in result} == {"QL101", "QL110"}


@pytest.mark.skipif("QL_SARIF_SCHEMA" not in os.environ, reason="QL_SARIF_SCHEMA names no copy of the whole schema")
def test_sarif_keeps_to_the_whole_schema() -> None:
    """OASIS's own schema is not ours to ship; the test above has the part of it that ql writes."""
    schema = json.loads(Path(os.environ["QL_SARIF_SCHEMA"]).read_text(encoding="utf-8"))
    validator = validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(json.loads(written("sarif")))] == []


def test_every_code_has_a_page() -> None:
    for code in codes():
        page = explain(code.lower())
        assert page.title
        assert page.why
        assert code in page.text()
    with pytest.raises(Unreadable, match="QL999"):
        explain("QL999")


def test_fixes_touch_nothing_else() -> None:
    raw = b"\xef\xbb\xbf" + BAD.replace("\n", "\r\n").encode()
    fixed, count = apply_fixes(raw, check_text(raw, file="a.yaml"))
    assert count == 2
    assert fixed == raw.replace(b"lora_rank", b"lora_r").replace(
        b"flash_attention: true", b"attn_implementation: flash_attention_2"
    )


def test_fixing_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(BAD)
    assert check_files([(str(path), None, True)], fix=True).fixed == 2
    once = path.read_bytes()
    assert check_files([(str(path), None, True)], fix=True).fixed == 0
    assert path.read_bytes() == once


@pytest.mark.parametrize(
    "text",
    [
        "lora_rank: many\n",  # the value does not fit the new name
        "lora_rank: 8\nlora_r: 8\n",  # the new name is taken
        "flash_attention: true\nxformers_attention: true\n",  # two flags: which is meant?
        "evaluation_strategy: 'no'\neval_strategy: steps\n",
    ],
)
def test_what_is_not_safe_is_not_repaired(text: str) -> None:
    raw = ("base_model: a\n" + text).encode()
    fixed, _ = apply_fixes(raw, check_text(raw, file="a.yaml"))
    assert fixed == raw


def test_two_keys_with_one_successor_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("base_model: a\nlora_rank: 8\nrank: 8\n")
    before = path.read_bytes()
    assert check_files([(str(path), None, True)], fix=True).fixed == 0
    assert path.read_bytes() == before


def test_paths_as_a_person_writes_them() -> None:
    assert path_text(("datasets", 0, "type")) == "datasets[0].type"
    assert path_text(()) == ""


def test_refusing_errors() -> None:
    found = findings()
    with pytest.raises(BadInput) as caught:
        refuse_errors(found)
    assert len(caught.value.problems) == len(errors_of(found)) > 1
    refuse_errors([finding for finding in found if finding.severity != "error"])


@pytest.mark.parametrize(("output", "shown"), [("text", 20), ("github", 20), ("json", 50), ("sarif", 50)])
def test_people_see_twenty_of_a_code_and_programs_all(output: str, shown: int, tmp_path: Path) -> None:
    path = tmp_path / "golden.jsonl"
    path.write_text("".join(f'{{"input": "q{number}", "target": 5}}\n' for number in range(50)))
    done = CliRunner().invoke(main, ["validate", str(path), "--format", output])
    assert done.exit_code == 1
    assert done.output.count("target is 5, a whole number") == shown
    assert ("and 30 more of QL102; --all prints them" in done.output) is (shown == 20)
    assert "50 error" in done.output or shown == 50
    everything = CliRunner().invoke(main, ["validate", str(path), "--format", output, "--all"])
    assert everything.output.count("target is 5, a whole number") == 50
