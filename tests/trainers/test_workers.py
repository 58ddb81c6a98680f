"""Jobs under another python: their result, their progress, and every way in which they can end."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import BadInput, RunFailed, Unreadable
from launcher.records.jobs import (
    ADAPTER,
    FETCH,
    PROBE,
    PUSH,
    AdapterRequest,
    FetchRequest,
    ProbeRequest,
    PushedFiles,
    PushRequest,
)
from launcher.trainers.workers import call_worker

REQUEST = AdapterRequest(source="s", out="o", dtype="float16", base_model="b")


def pretend_python(folder: Path, body: str) -> str:
    """An executable that stands in for the trainer's python: it gets worker.py, a job and a request file."""
    path = folder / "python"
    path.write_text(f"#!{sys.executable}\nimport json, sys\nworker, job, request = sys.argv[1:]\n{body}")
    path.chmod(0o755)
    return str(path)


def test_the_probe_really_runs(tmp_path: Path) -> None:
    facts = call_worker(sys.executable, PROBE, ProbeRequest(trainers=["axolotl", "unsloth"]), tmp_path / "probe.log")
    assert facts.executable == sys.executable
    assert facts.versions.keys() >= {"axolotl", "unsloth", "torch"}
    for device in facts.devices:
        assert device.free_gib <= device.total_gib


def test_the_probe_imports_no_trainer(tmp_path: Path, root: Path) -> None:
    (tmp_path / "axolotl.py").write_text("raise SystemExit('imported')")
    (tmp_path / "unsloth.py").write_text("raise SystemExit('imported')")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        assert call_worker(sys.executable, PROBE, ProbeRequest(), tmp_path / "probe.log").python


def test_progress_and_result(tmp_path: Path) -> None:
    body = (
        "text = json.load(open(request))['message']\n"
        "print(json.dumps({'event': 'progress', 'done': 1, 'text': text}), flush=True)\n"
        "print('chatter', file=sys.stderr, flush=True)\n"
        "print(json.dumps({'event': 'result', 'result': {'url': job, 'commit': '', 'files': [], 'bytes': 1}}))\n"
    )
    heard: list[dict[str, Any]] = []
    log = tmp_path / "x.log"
    result = call_worker(
        pretend_python(tmp_path, body), PUSH, PushRequest(folder="f", repo="r", message="häß\n"), log, heard.append
    )
    assert result == PushedFiles(url="push", commit="", files=[], bytes=1)
    assert heard == [{"event": "progress", "done": 1, "text": "häß\n"}]
    assert "chatter" in log.read_text()


@pytest.mark.parametrize(("code", "kind"), [(1, BadInput), (3, RunFailed)])
def test_an_error_of_the_job_is_raised_here(tmp_path: Path, code: int, kind: type[Exception]) -> None:
    problem = {"message": "no such shard", "file": "a.json", "line": 3, "column": None, "hint": "look"}
    event = {"event": "error", "problems": [problem], "exit_code": code}
    body = f"print({json.dumps(json.dumps(event))}); sys.exit({code})"
    with pytest.raises(kind, match=r"a\.json:3: no such shard\n  look"):
        call_worker(pretend_python(tmp_path, body), ADAPTER, REQUEST, tmp_path / "x.log")


def test_a_python_without_torch_is_told_apart(tmp_path: Path) -> None:
    """The real job under a python that has the standard library alone."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    with pytest.raises(RunFailed, match=r"lacks a library.*No module named.*\n.*--trainer-python") as caught:
        call_worker(str(python), ADAPTER, REQUEST, tmp_path / "x.log")
    assert str(python) in str(caught.value)


def test_what_is_missing_is_not_read_from_the_words(tmp_path: Path) -> None:
    problems = [{"message": "ModuleNotFoundError: is what the row says"}]
    event = {"event": "error", "kind": "told", "problems": problems, "exit_code": 1}
    body = f"print({json.dumps(json.dumps(event))}); sys.exit(1)"
    with pytest.raises(BadInput, match=r"^ModuleNotFoundError: is what the row says"):
        call_worker(pretend_python(tmp_path, body), ADAPTER, REQUEST, tmp_path / "x.log")


def test_a_job_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    body = "print('Segmentation fault in libfoo', file=sys.stderr); sys.stderr.flush(); sys.exit(139)"
    with pytest.raises(RunFailed, match=r"139.*Segmentation fault in libfoo"):
        call_worker(pretend_python(tmp_path, body), ADAPTER, REQUEST, tmp_path / "x.log")


def test_only_fetching_may_reach_for_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    body = (
        "import os\nfound = {'path': os.environ.get('HF_HUB_OFFLINE', ''), 'tensors': 1, 'bytes': 1}\n"
        "print(json.dumps({'event': 'result', 'result': found}))"
    )
    python = pretend_python(tmp_path, body)
    assert call_worker(python, ADAPTER, REQUEST, tmp_path / "x.log").extra == {"path": "1"}
    assert call_worker(python, FETCH, FetchRequest(base_model="x"), tmp_path / "x.log").path == ""


def test_a_python_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="--trainer-python"):
        call_worker(str(tmp_path / "no-python"), PROBE, ProbeRequest(), tmp_path / "x.log")


def test_an_unfetchable_model_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(RunFailed, match="not in the local cache") as failed:
        call_worker(sys.executable, FETCH, FetchRequest(base_model="nobody/nothing"), tmp_path / "x.log")
    assert "--model" in str(failed.value)


def test_an_answer_that_is_none_is_one_clear_error(tmp_path: Path) -> None:
    body = "print(json.dumps({'event': 'result', 'result': {'tensors': 'many', 'bytes': 1}}))"
    with pytest.raises(Unreadable, match="tensors must be a whole number, not 'many'"):
        call_worker(pretend_python(tmp_path, body), ADAPTER, REQUEST, tmp_path / "x.log")
