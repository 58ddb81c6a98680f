"""Configs as people wrote them: what `ql validate` says of each, and whether `ql launch` would begin. A folder each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from launcher.cli.main import main

CASES = Path(__file__).parent / "cases"
# The folder, the file, and the codes of the errors and warnings that are found, with the data read.
SAID: dict[tuple[str, str], set[str]] = {
    ("sharegpt-conversation-chatml", "config.yml"): {"QL402", "QL364", "QL103", "QL107", "QL110", "QL108"},
    ("custom-type-and-env", "config.yml"): {"QL802"},
    ("custom-type-and-env", "c2.yml"): {"QL802"},
    ("pissa-lora-late", "config.yml"): {"QL719"},
    ("new-tokens-not-trained", "a.yml"): {"QL414"},
    ("new-tokens-not-trained", "b.yml"): {"QL718"},
    ("launch-new-token-config", "b.yml"): {"QL414"},
    ("eot-warning-on-instruct-models", "a-qwen25-instruct-chatml.yml"): set(),
    ("eot-warning-on-instruct-models", "b-qwen3-8b.yml"): set(),
    ("eot-warning-on-instruct-models", "c-qwen3-base.yml"): {"QL710"},
    ("eot-warning-on-instruct-models", "d-llama31-instruct.yml"): set(),
    ("eot-warning-on-instruct-models", "e-default.yml"): set(),
    ("eot-warning-on-instruct-models", "f-gemma2-it.yml"): set(),
    ("eot-warning-on-instruct-models", "g-llama2-chatml.yml"): {"QL710"},
    ("eot-warning-on-instruct-models", "h-llama3-base-llama3.yml"): {"QL710"},
}
LAUNCHED = {
    ("custom-type-and-env", "c2.yml"): "no row of q.jsonl has 'respons'",
    ("pissa-lora-late", "config.yml"): "peft_init_lora_weights: olora",
    (
        "launch-new-token-config",
        "b.yml",
    ): "tokens with adapter: qlora, and lora_modules_to_save lacks",
}


def test_every_file_is_here() -> None:
    assert {(path.parent.name, path.name) for path in CASES.glob("*/*.y*ml")} == set(SAID)


@pytest.mark.parametrize(("case", "name"), sorted(SAID))
def test_what_is_found(case: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CASES / case)
    with_data = ["--with-data"] if Path("rows").is_dir() else []
    done = CliRunner().invoke(main, ["validate", name, "--quiet", "--json", *with_data])
    assert {finding["code"] for finding in json.loads(done.stdout)["findings"]} == SAID[case, name]


@pytest.mark.parametrize(("case", "name"), sorted(LAUNCHED))
def test_what_could_not_end_well_does_not_begin(case: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CASES / case)
    done = CliRunner().invoke(main, ["launch", "--config", name, "--preset", "cpu-tiny", "--dry-run"])
    assert (done.exit_code, LAUNCHED[case, name] in done.stderr) == (1, True), done.stderr
