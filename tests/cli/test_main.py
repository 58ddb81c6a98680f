"""The group: every verb loads, has help, and errors come out as text with the right exit code."""

from __future__ import annotations

import json

import click
import pytest
from click.testing import CliRunner

from launcher.cli.main import VERBS, main


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


def test_an_unknown_verb_names_the_nearest(run: CliRunner) -> None:
    result = run.invoke(main, ["lanch"])
    assert result.exit_code == 2
    assert "did you mean 'launch'?" in result.output


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


def test_presets_as_json_are_objects_with_names(run: CliRunner) -> None:
    result = run.invoke(main, ["presets", "--json"])
    assert result.exit_code == 0
    assert {"cpu-tiny", "a10g-7b"} <= {preset["name"] for preset in json.loads(result.stdout)}
