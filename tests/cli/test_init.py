"""`ql init`: what it finds, what it asks, and a file that the other verbs take."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from launcher.cli.init import command
from launcher.cli.main import main
from launcher.errors import Unreadable
from launcher.preparing.job_file import read_job
from launcher.preparing.propose import choose, find_card


def driver(folder: Path, script: str) -> None:
    """An nvidia-smi that says what a machine with such cards would say."""
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def init(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["init", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.parametrize(
    ("script", "gpu", "said"),
    [
        (None, "cpu", "no NVIDIA driver"),
        ("exit 9", "cpu", "finds no card"),
        ("echo 'NVIDIA A10G'", "a10g", "NVIDIA A10G, found"),
        ("echo 'NVIDIA H100 80GB HBM3'; echo 'NVIDIA A10G'", "h100", "the first of 2"),
        ("echo 'NVIDIA GeForce GT 710'", None, "GT 710"),
    ],
)
def test_the_card_is_the_drivers_first(bin_folder: Path, script: str | None, gpu: str | None, said: str) -> None:
    if script is not None:
        driver(bin_folder, script)
    card = find_card()
    assert (card.gpu.name if card.gpu else None) == gpu
    assert said in card.why


def test_the_file_validates_and_plans(bin_folder: Path, tmp_path: Path, tickets: Path, golden: Path) -> None:
    driver(bin_folder, "echo 'NVIDIA A10G'")
    out = tmp_path / "job.yaml"
    init("--data", tickets, "--golden", golden, "--set", "num_epochs=2", "--out", out)
    text = out.read_text()
    assert re.search(r"# Estimate: \d+\.\d of \d+\.\d GiB, about .* USD at 1\.006 USD/h", text)
    assert "instead a10g-13b:" in text.replace("\n# ", " ")
    assert "1,020 rows (messages)" in text
    job = read_job(out)
    assert (job.preset, job.gates, job.settings) == ("a10g-7b", ("exact_match>=base",), {"num_epochs": 2})
    assert job.data is not None
    assert job.data.resolve() == tickets
    runner = CliRunner()
    assert runner.invoke(main, ["validate", "--with-data", str(out)]).exit_code == 0
    dry = runner.invoke(main, ["launch", str(out), "--dry-run", "--json"])
    assert dry.exit_code == 0, dry.output
    plan = json.loads(dry.stdout)["plan"]
    assert (plan["preset"], plan["num_epochs"], plan["reasons"]["num_epochs"]) == ("a10g-7b", 2, "set by you")


def test_what_is_commented_out_is_the_plan(bin_folder: Path, tmp_path: Path, tickets: Path) -> None:
    """Each setting that is shown can be uncommented, and changes nothing until it is edited."""
    out = tmp_path / "job.yaml"
    init("--data", tickets, "--out", out)
    text = out.read_text()
    shown = text[text.index("# settings:") :]
    out.write_text(text + re.sub(r"^# ?", "", shown, flags=re.MULTILINE))
    settings = read_job(out).settings
    assert len(settings) == 5
    dry = CliRunner().invoke(main, ["launch", str(out), "--dry-run", "--json"])
    plan = json.loads(dry.stdout)["plan"]
    assert {key: plan[key] for key in settings} == settings
    before = CliRunner().invoke(main, ["launch", "--preset", "cpu-tiny", "--data", str(tickets), "--dry-run", "--json"])
    assert {**json.loads(before.stdout)["plan"], "reasons": 0} == {**plan, "reasons": 0}


def test_flags_choose_and_are_kept(bin_folder: Path, tmp_path: Path, tickets: Path) -> None:
    out = tmp_path / "sub" / "job.yaml"
    out.parent.mkdir()
    options = ["--gpu", "h100", "--model", "llama-3.1-8b", "--method", "lora", "--backend", "unsloth", "--price", "2"]
    facts = json.loads(init("--data", tickets, *options, "--out", out, "--json"))
    assert facts["estimate"]["price"]["usd_per_hour"] == 2
    job = yaml.safe_load(out.read_text())
    assert {key: job[key] for key in ("gpu", "model", "method", "backend")} == {
        "gpu": "h100", "model": "llama-3.1-8b", "method": "lora", "backend": "unsloth",
    }  # fmt: skip
    assert (out.parent / job["data"]).resolve() == tickets
    dry = CliRunner().invoke(main, ["launch", str(out), "--dry-run", "--json", "--backend", "axolotl"])
    assert json.loads(dry.stdout)["plan"]["backend"] == "axolotl", "an option wins over the file"


def test_a_choice_left_to_ql_is_left_to_it_in_the_file_too(bin_folder: Path, tmp_path: Path, tickets: Path) -> None:
    out = tmp_path / "a job.yaml"
    said = init("--data", tickets, "--gpu", "a10g", "--method", "auto", "--backend", "auto", "--out", out)
    assert f"ql launch '{out}'" in said, "a line to paste into a shell"
    job = read_job(out)
    assert (job.method, job.backend) == ("auto", "auto")


def test_a_card_without_a_preset_needs_a_model() -> None:
    with pytest.raises(Unreadable, match=r"no preset[\s\S]*--model"):
        choose([])


def test_a_file_is_never_overwritten(bin_folder: Path, tmp_path: Path, tickets: Path) -> None:
    out = tmp_path / "job.yaml"
    out.write_text("mine")
    assert "not overwritten" in init("--data", tickets, "--out", out, code=2)
    assert out.read_text() == "mine"


def test_bad_data_and_unknown_cards_write_nothing(bin_folder: Path, tmp_path: Path, tickets: Path) -> None:
    out = tmp_path / "job.yaml"
    bad = tmp_path / "bad.jsonl"
    bad.write_text("{}\nnot json\n")
    assert "bad.jsonl:2" in init("--data", bad, "--out", out, code=1)
    assert "--data" in init("--out", out, code=2)
    driver(bin_folder, "echo 'NVIDIA GeForce GT 710'")
    assert "--gpu names the one" in init("--data", tickets, "--out", out, code=2)
    assert not out.exists()


def on_a_terminal(folder: Path, *answers: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """`ql init` in a folder on a machine with an A10G, each question answered with a line."""
    (folder / "bin").mkdir()
    driver(folder / "bin", "echo 'NVIDIA A10G'")
    ours, theirs = pty.openpty()
    os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
    done = subprocess.run(
        [sys.executable, "-m", "launcher", "init"],
        cwd=folder,
        env={**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"},
        stdin=theirs,
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == code, done.stderr
    return done


def test_on_a_terminal_it_asks_at_most_five_questions(tmp_path: Path, tickets: Path, golden: Path) -> None:
    done = on_a_terminal(tmp_path, tickets, golden, "", "a10g-13b", "mine.yaml")
    assert "NVIDIA A10G, found by nvidia-smi" in done.stderr
    assert re.search(r"a10g-14b .* USD", done.stderr), "the presets of the card, each with its estimate"
    assert read_job(tmp_path / "mine.yaml").preset == "a10g-13b"


def test_bad_data_and_a_bad_golden_set_are_said_before_the_next_question(tmp_path: Path, tickets: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text("not json\n")
    done = on_a_terminal(tmp_path, bad, code=1)
    assert "bad.jsonl:1" in done.stderr
    assert "Golden set" not in done.stdout + done.stderr
    (tmp_path / "bin" / "nvidia-smi").unlink()
    (tmp_path / "bin").rmdir()
    done = on_a_terminal(tmp_path, tickets, bad, code=1)
    assert "bad.jsonl:1" in done.stderr
    assert "Card" not in done.stdout + done.stderr


def test_a_wrong_answer_is_asked_again_and_costs_no_other(tmp_path: Path, tickets: Path) -> None:
    (tmp_path / "job.yaml").write_text("mine")
    on_a_terminal(tmp_path, tickets, "no-such-golden.jsonl", "", "h100", "", "job.yaml", "")
    assert (tmp_path / "job.yaml").read_text() == "mine"
    text = (tmp_path / "job-2.yaml").read_text()
    assert "# NVIDIA H100 80GB, as chosen. " in text
    assert "# golden: golden.jsonl" in text
    assert read_job(tmp_path / "job-2.yaml").golden is None


def test_every_option_is_one_of_launch_or_says_where_to_write() -> None:
    from launcher.cli.launch import command as launch

    known = {parameter.name for parameter in launch.params}
    assert {parameter.name for parameter in command.params} - known == {"yes"}
