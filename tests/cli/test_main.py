"""The group: every verb loads, has help, and errors come out as text with the right exit code."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from launcher.cli.main import VERBS, main
from launcher.runs.run import create_run
from manifests import new_manifest


@pytest.fixture
def run() -> CliRunner:
    return CliRunner()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_that_begins_with_a_sentence(run: CliRunner, verb: str) -> None:
    result = run.invoke(main, [verb, "--help"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("Usage: ")
    command = main.get_command(None, verb)  # type: ignore[arg-type]
    assert command is not None
    assert (command.help or "").split("\n")[0].rstrip().endswith(".")
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{verb} {parameter.name} has no help"


@pytest.mark.parametrize("verb", VERBS)
def test_the_examples_of_a_verb_can_be_typed_so(verb: str) -> None:
    group = click.Context(main, info_name="ql")
    command = main.get_command(group, verb)
    assert command is not None
    for line in (command.epilog or "").splitlines()[2:]:
        ql, name, *rest = shlex.split(line)
        assert (ql, name) == ("ql", verb)
        command.make_context(verb, rest, parent=group)


def test_a_question_that_is_interrupted_ends_as_any_signal_does(
    run: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise click.Abort

    monkeypatch.setattr("launcher.cli.init._ask_data", interrupted)
    result = run.invoke(main, ["init"])
    assert result.exit_code == 130
    assert result.stderr == "\nstopped\n"


def test_an_unknown_verb_names_the_nearest(run: CliRunner) -> None:
    result = run.invoke(main, ["lanch"])
    assert result.exit_code == 2
    assert "did you mean 'launch'?" in result.output


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["train"], "did you mean 'launch'?"),
        (["help"], "did you mean --help?"),
        (["launch", "--learning-rate", "1e-4"], "Did you mean --set learning_rate=VALUE?"),
        (["export", "--epochs=3"], "Did you mean --set num_epochs=VALUE?"),
        (["launch", "--preset", "cpu-tiny", "--set", "num_epochs", "3"], "such as --set num_epochs=VALUE"),
        (["check", "--presset"], "No such option '--presset'"),
        (["runs", "--learning-rate", "1e-4"], "No such option '--learning-rate'."),
    ],
)
def test_what_is_called_otherwise_here_is_named(run: CliRunner, typed: list[str], said: str) -> None:
    result = run.invoke(main, typed)
    assert result.exit_code == 2
    assert said in result.output


def test_an_error_is_text_on_stderr_and_an_exit_code(run: CliRunner) -> None:
    result = run.invoke(main, ["presets", "a10g-7c"])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "a10g-7b" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(run: CliRunner, shell: str) -> None:
    result = run.invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert "_QL_COMPLETE" in result.output


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["presets", "a10g-"], ["a10g-13b", "a10g-14b", "a10g-7b", "a10g-8b"]),
        (["launch", "--preset", "cpu"], ["cpu-tiny"]),
        (["estimate", "--gpu", "h"], ["h100", "h200"]),
        (["launch", "--model", "mis"], ["mistral-7b"]),
        (["export", "--set", "learn"], ["learning_rate="]),
        (["launch", "--backend", "un"], ["unsloth"]),
        (["runs", ""], ["latest", "b", "a"]),
        (["chat", "a"], ["a"]),
        (["runs", "--runs-dir", "empty", ""], []),
    ],
)
def test_names_are_completed(
    typed: list[str], offered: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = {"backend": "axolotl", "method": "qlora", "base_model": "x", "compute_dtype": "float32"}
    for day, name in enumerate(("a", "b"), start=1):
        run = create_run(tmp_path / "runs", name, new_manifest(plan=plan), exactly=tmp_path / "runs" / name)
        run.record.created = f"2026-01-0{day}T00:00:00+00:00"
        run.save()
    completer = ShellComplete(main, {}, "ql", "_QL_COMPLETE")
    assert [item.value for item in completer.get_completions(typed[:-1], typed[-1])] == offered


def test_presets_as_json_are_objects_with_names(run: CliRunner) -> None:
    result = run.invoke(main, ["presets", "--json"])
    assert result.exit_code == 0
    assert {"cpu-tiny", "a10g-7b"} <= {preset["name"] for preset in json.loads(result.stdout)}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("presets",), 0), (("check", "good.jsonl"), 0), (("check", "bad.jsonl"), 1), (("validate", "bad.yaml"), 1)],
)
def test_a_reader_that_goes_away_changes_no_verdict(arguments: tuple[str, ...], code: int, tmp_path: Path) -> None:
    """`ql check DATA | head` with ``set -o pipefail``: the exit code says how the data is, as without the pipe."""
    (tmp_path / "good.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    (tmp_path / "bad.jsonl").write_text("not JSON\n")
    (tmp_path / "bad.yaml").write_text("base_model: x\nadapter: qlora\nload_in_4bit: false\n")
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "launcher", *arguments]
    done = subprocess.run(command, cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert done.returncode == code, done.stderr
    assert "BrokenPipe" not in done.stderr
