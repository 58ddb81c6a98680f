"""Tokens stay out of the trainer's environment, of every log and of the manifest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.cli.main import report
from launcher.errors import RunFailed
from launcher.processes.child import child, child_environment
from launcher.processes.secrets import is_secret, redact, redacted_log
from launcher.records.jobs import PROBE, ProbeRequest
from launcher.runs.run import create_run
from launcher.trainers.workers import call_worker
from manifests import new_manifest

TOKEN = "hf_" + "A1b2C3d4E5f6G7h8I9j0K1l2"


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD"]
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["TOKENIZERS_PARALLELISM", "PATH", "KEYBOARD", "HF_HOME", "PYTHONPATH", "MONKEY"])
def test_names_of_no_secrets(name: str) -> None:
    assert not is_secret(name)


def test_a_trainer_does_not_get_them_and_a_download_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert "HF_TOKEN" not in child_environment()
    assert child_environment(with_secrets=True)["HF_TOKEN"] == TOKEN


def test_values_and_what_looks_like_a_token_are_blacked_out() -> None:
    environment = {"WANDB_API_KEY": "0123456789abcdef", "SHORT_TOKEN": "ab", "HOME": "/root"}
    text = redact(f"key 0123456789abcdef, token {TOKEN}, ab, /root", environment)
    assert text == "key [WANDB_API_KEY], token [token], ab, /root"


def test_a_short_value_is_a_secret_only_where_it_stands_alone() -> None:
    environment = {"POSTGRES_PASSWORD": "postgres"}
    said = redact('password "postgres" in /home/postgres/run and postgres.example', environment)
    assert said == 'password "[POSTGRES_PASSWORD]" in /home/postgres/run and postgres.example'


def test_a_password_in_an_address_is_blacked_out() -> None:
    text = "cannot reach https://me:s3cr3t@mirror.example/x, nor http://mirror.example:8080/a@b"
    assert redact(text, {}) == "cannot reach https://me:[password]@mirror.example/x, nor http://mirror.example:8080/a@b"


def test_no_log_shows_what_a_child_prints_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "s3cr3t-value-of-mine")
    code = (
        "import sys, time\n"
        "for part in ('before s3cr3t-va', 'lue-of-mine after\\n', 'step 1\\r', 'step 2\\r', 'no line feed'):\n"
        "    sys.stdout.write(part); sys.stdout.flush(); time.sleep(0.05)\n"
    )
    log = tmp_path / "train.log"
    log.write_text("earlier\n")
    with (
        redacted_log(log) as stream,
        child([sys.executable, "-c", code], environment=os.environ, stdout=stream, stderr=stream) as process,
    ):
        process.wait()
    assert log.read_bytes() == b"earlier\nbefore [WANDB_API_KEY] after\nstep 1\rstep 2\rno line feed"


def test_bytes_that_are_no_text_pass_as_they_are(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with redacted_log(log) as stream:
        os.write(stream, b"\xff\xfe\n" + b"x" * 200_000 + b"\n")
    assert log.read_bytes() == b"\xff\xfe\n" + b"x" * 200_000 + b"\n"


def test_a_workers_log_is_redacted_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text(
        f"#!{sys.executable}\nimport json, sys\nprint('{TOKEN}', file=sys.stderr)\n"
        "print(json.dumps({'event': 'result', 'result': {}}))\n"
    )
    python.chmod(0o755)
    call_worker(str(python), PROBE, ProbeRequest(), tmp_path / "probe.log")
    assert (tmp_path / "probe.log").read_text() == "[token]\n"


def test_the_manifest_is_redacted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "my-very-own-token")
    run = create_run(tmp_path, "x", new_manifest(plan={}, notes=["could not log in with my-very-own-token"]))
    text = (run.path / "run.json").read_text()
    assert "my-very-own-token" not in text
    assert json.loads(text)["notes"] == ["could not log in with [HF_TOKEN]"]


def test_a_password_of_digits_leaves_the_manifest_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "123456")
    run = create_run(tmp_path, "x", new_manifest(plan={}, notes=["said 123456"], bytes=123456))
    data = json.loads((run.path / "run.json").read_text())
    assert (data["bytes"], data["notes"]) == (123456, ["said [DB_PASSWORD]"])


def test_a_secret_that_json_writes_otherwise_is_blacked_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", 'long "quoted" pass\\word')
    run = create_run(tmp_path, "x", new_manifest(plan={}, notes=['with long "quoted" pass\\word']))
    assert json.loads((run.path / "run.json").read_text())["notes"] == ["with [DB_PASSWORD]"]


def test_an_error_is_redacted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HF_TOKEN", "my-very-own-token")
    monkeypatch.setattr(sys, "argv", ["ql", "--json"])
    report(RunFailed("my-very-own-token was refused"))
    said = capsys.readouterr()
    assert "my-very-own-token" not in said.out + said.err
    assert json.loads(said.out)["problems"][0]["message"] == "[HF_TOKEN] was refused"


def test_a_log_that_cannot_be_written_is_an_error_before_the_child_starts(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"), redacted_log(tmp_path / "no" / "log"):
        pytest.fail("the child would be started")


def test_the_pump_ends_although_a_grandchild_keeps_the_pipe(tmp_path: Path) -> None:
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    with (
        redacted_log(tmp_path / "log") as stream,
        child([sys.executable, "-c", code], environment=os.environ, stdout=stream, stderr=subprocess.STDOUT) as process,
    ):
        process.wait()
    assert (tmp_path / "log").exists()  # we are here: the grandchild was ended with its parent
