from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from launcher.cli.main import main
from launcher.resources import resource

GOOD = """\
base_model: mistralai/Mistral-7B-v0.3
adapter: qlora
load_in_4bit: true
lora_r: 16
lora_alpha: 32
lora_target_linear: true
lora_mlp_kernel: true
datasets: [{path: data.jsonl, type: chat_template}]
sequence_len: 2048
excess_length_strategy: truncate
gradient_accumulation_steps: 16
learning_rate: 2e-4
"""
BAD = GOOD + "lora_rank: 8\n"
WARNS = GOOD.replace("2e-4", "0.02")


def ql(*arguments: str | Path, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["validate", *map(str, arguments)], input=stdin)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {
        "good.yaml": GOOD,
        "bad.yml": BAD,
        "warns.yaml": WARNS,
        "compose.yaml": "services: {}\n",
    }.items():
        (tmp_path / name).write_text(text)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "bad.yaml").write_text(BAD)
    (tmp_path / "note.txt").write_text(BAD)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "options", "code"),
    [
        ("good.yaml", [], 0),
        ("bad.yml", [], 1),
        ("warns.yaml", [], 0),
        ("warns.yaml", ["--strict"], 1),
        ("bad.yml", ["--ignore", "QL101"], 0),
        ("bad.yml", ["--select", "QL2"], 0),
        ("bad.yml", ["--select", "ql1,QL2"], 1),
        ("missing.yaml", [], 2),
        ("bad.yml", ["--axolotl-version", "0.1"], 2),
        ("bad.yml", ["--gpu", "a11g"], 2),
        ("bad.yml", ["--format", "xml"], 2),
    ],
)
def test_exit_codes(folder: Path, name: str, options: list[str], code: int) -> None:
    result = ql(folder / name, *options)
    assert result.exit_code == code, result.output


def test_a_folder_and_a_glob(folder: Path) -> None:
    body = json.loads(ql(folder, "--json").stdout)
    assert body["files"] == 3, "what does not say that it is a config is left alone; so are hidden folders"
    assert {Path(finding["file"]).name for finding in body["findings"]} == {"bad.yml", "warns.yaml"}
    assert json.loads(ql(f"{folder}/*.yaml", "--json").stdout)["files"] == 2
    assert json.loads(ql(folder, folder / "bad.yml", "--json").stdout)["files"] == 3, "no file twice"


def test_a_named_file_is_a_config_unless_told_otherwise(folder: Path) -> None:
    assert ql(folder / "compose.yaml").exit_code == 1
    result = ql(folder / "compose.yaml", "--skip-unknown")
    assert result.exit_code == 0
    assert "0 files" in result.stdout


def test_nothing_found_is_an_error(folder: Path) -> None:
    (folder / "empty").mkdir()
    assert ql(folder / "empty").exit_code == 2
    assert ql(f"{folder}/*.toml").exit_code == 2
    assert ql().exit_code == 2


def test_standard_input() -> None:
    result = ql("-", stdin=BAD)
    assert result.exit_code == 1
    assert "<stdin>:13:1: error QL101" in result.stdout


def test_one_unreadable_file_hides_no_other(folder: Path) -> None:
    (folder / "broken.yaml").write_text("a: [\n")
    result = ql(folder / "broken.yaml", folder / "bad.yml")
    assert result.exit_code == 2
    assert "QL002" in result.stdout
    assert "QL101" in result.stdout


def test_fix_writes_the_file(folder: Path) -> None:
    path = folder / "bad.yml"
    path.write_text("# mine\n" + BAD.replace("lora_r: 16\n", ""))
    result = ql("--fix", path)
    assert result.exit_code == 0, result.output
    assert path.read_text() == "# mine\n" + BAD.replace("lora_r: 16\n", "").replace("lora_rank", "lora_r")
    assert "fixed 1" in result.stderr


def test_fix_writes_through_a_link_and_keeps_the_mode(folder: Path) -> None:
    path, link = folder / "bad.yml", folder / "link.yml"
    path.write_text(BAD.replace("lora_r: 16\n", ""))
    path.chmod(0o640)
    link.symlink_to("bad.yml")
    assert ql("--fix", link).exit_code == 0
    assert link.is_symlink()
    assert "lora_rank" not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o640


def test_fix_leaves_json_json(folder: Path) -> None:
    path = folder / "flow.yaml"
    path.write_text('{"base_model": "a/b", "adapter": "lora", "lora_rank": 8}\n')
    ql("--fix", path)
    assert json.loads(path.read_text())["lora_r"] == 8


@pytest.mark.parametrize("option", ["--select", "--ignore"])
def test_a_code_that_does_not_exist_is_refused(folder: Path, option: str) -> None:
    result = ql(folder / "bad.yml", option, "QL1,QL10l")
    assert result.exit_code == 2
    assert "QL10L" in result.stderr


@pytest.mark.parametrize("options", [["--select", "QL1"], ["--ignore", "QL0"]])
def test_an_unreadable_file_never_passes(folder: Path, options: list[str]) -> None:
    (folder / "broken.yaml").write_text("a: [\n")
    assert ql(folder / "broken.yaml", *options).exit_code == 2


def test_fix_of_standard_input_is_printed() -> None:
    text = BAD.replace("lora_r: 16\n", "")
    assert ql("--fix", "-", stdin=text).stdout == text.replace("lora_rank", "lora_r")


def test_explain() -> None:
    result = ql("--explain", "QL101")
    assert result.exit_code == 0
    assert "silence" in result.stdout
    assert ql("--explain", "QL000").exit_code == 2


def test_explain_lists_the_codes_that_begin_so() -> None:
    lines = ql("--explain", "ql10").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [f"QL10{number}" for number in range(1, 10)]
    assert "A key that its reader does not know." in lines[0]


def test_what_is_no_code_gets_the_near_ones_and_not_all() -> None:
    for arguments in (["--explain", "foo"], ["--explain", "QL999"], ["--select", "foo", "x.yaml"]):
        result = ql(*arguments)
        assert result.exit_code == 2
        assert "`ql validate --explain QL` lists them all" in result.stderr
        assert result.stderr.count("QL") < 8
    assert "did you mean QL713" in ql("--explain", "QL7133").stderr


@pytest.mark.parametrize("form", ["text", "json", "github", "sarif"])
def test_every_format_names_the_fault(folder: Path, form: str) -> None:
    result = ql(folder / "bad.yml", "--format", form)
    assert result.exit_code == 1
    assert "QL101" in result.stdout


def test_a_card(folder: Path) -> None:
    (folder / "c.yaml").write_text(GOOD + "bf16: true\n")
    assert "QL506" in ql(folder / "c.yaml", "--gpu", "t4").stdout
    assert "QL506" not in ql(folder / "c.yaml", "--gpu", "a10g").stdout


def test_every_file_that_ql_ships_is_valid() -> None:
    presets = resource("presets")
    body = json.loads(ql(presets, "--json").stdout)
    assert body["findings"] == []
    assert body["files"] == sum(1 for _ in presets.rglob("*.yaml"))
