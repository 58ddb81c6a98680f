"""`ql push` against a stand-in of the hub that really receives the bytes; the token never shows anywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.records.codec import plain
from launcher.records.run import GateResult
from launcher.runs.run import Run, open_run
from manifests import finished_run
from standin_hub import COMMIT, Hub, refuse_card, standin_hub

pytest.importorskip("huggingface_hub")
TOKEN = "hf_" + "SecretSecretSecret"  # in two parts: scanners look for such strings


@pytest.fixture
def hub() -> Iterator[Hub]:
    with standin_hub(TOKEN) as hub:
        yield hub


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return finished_run(tmp_path / "runs", trainer_python=sys.executable)


def push(run: Run, hub: Hub | None, *more: str, token: str | None = TOKEN) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, with nothing of this machine's own hub account."""
    environment = {
        **os.environ,
        "HF_HOME": str(run.path.parent / "hub"),
        "HF_ENDPOINT": hub.url if hub else "http://127.0.0.1:9",
    }
    environment = {key: value for key, value in environment.items() if key not in ("HF_TOKEN", "HF_HUB_OFFLINE")}
    if token:
        environment["HF_TOKEN"] = token
    argv = [sys.executable, "-m", "launcher", "push", str(run.path), "--repo", "org/name", *more]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    written = "".join(path.read_text(errors="replace") for path in run.path.rglob("*") if path.is_file())
    assert TOKEN not in done.stdout + done.stderr + written
    return done


def read(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_merged_arrives_byte_for_byte_with_its_card(run: Run, hub: Hub) -> None:
    done = push(run, hub, "--json")
    assert done.returncode == 0, done.stderr
    assert hub.files == read(run.path / "merged")
    assert hub.files["README.md"].startswith(b"---\n")
    assert list(hub.large.values()) == [b"merged" * 2000]
    assert hub.visibility == {"org/name": "private"}
    facts = json.loads(done.stdout)
    assert facts["commit"] == COMMIT
    assert facts["bytes"] == sum(len(content) for content in hub.files.values())
    recorded = plain(open_run(run.path).record.pushed)
    assert [(item["repo"], item["subject"], item["commit"]) for item in recorded] == [("org/name", "merged", COMMIT)]
    assert hub.messages == [f"merged of {run.path.name}"]


def test_the_adapter_public_on_a_branch_with_a_message(run: Run, hub: Hub) -> None:
    done = push(run, hub, "--adapter", "--public", "--revision", "v1", "--message", "first")
    assert done.returncode == 0, done.stderr
    assert hub.files == read(run.path / "adapter")
    assert hub.visibility == {"org/name": "public"}
    assert "v1" in hub.branches
    assert hub.messages == ["first"]
    assert f"{hub.url}/org/name" in done.stdout


def test_the_folders_of_this_machine_stay_here(run: Run, hub: Hub) -> None:
    manifest = {
        "base_path": "/home/someone/models/base",
        "shards": [{"file": "a", "sha256": "b"}],
        "adapter_path": "/x/y",
    }
    (run.path / "merged" / "merge.json").write_text(json.dumps(manifest))
    assert push(run, hub).returncode == 0
    config = run.path / "adapter" / "adapter_config.json"
    config.write_text(json.dumps({"base_model_name_or_path": "/home/someone/models/base", "r": 16}))
    sent = json.loads(hub.files["merge.json"])
    assert sent == manifest | {"base_path": "base", "adapter_path": "y"}
    assert push(run, hub, "--adapter").returncode == 0
    assert json.loads(hub.files["adapter_config.json"]) == {"base_model_name_or_path": "base", "r": 16}
    assert not [name for name, content in hub.files.items() if b"/home/someone" in content]


def test_a_second_push_sends_no_weights_again(run: Run, hub: Hub) -> None:
    assert push(run, hub).returncode == 0
    hub.requests.clear()
    assert push(run, hub).returncode == 0
    assert not [request for request in hub.requests if request.startswith("PUT")]
    assert len(open_run(run.path).record.pushed) == 2


def test_a_dry_run_touches_nothing(run: Run, hub: Hub) -> None:
    done = push(run, hub, "--dry-run", token=None)
    assert done.returncode == 0
    assert "README.md" in done.stdout.splitlines()
    assert not hub.requests


def test_a_repository_without_its_owner_is_refused_before_anything_is_sent(run: Run, hub: Hub) -> None:
    done = push(run, hub, "--repo", "tickets")
    assert done.returncode == 2
    assert "'tickets' is not OWNER/NAME, such as me/tickets" in done.stderr
    assert not hub.requests


@pytest.mark.parametrize(
    ("token", "said"),
    [(None, "there is no token"), ("hf_" + "WrongWrong", "does not let this token write to org/name")],
)
def test_without_a_right_token_it_says_how_to_get_one(run: Run, hub: Hub, token: str | None, said: str) -> None:
    done = push(run, hub, token=token)
    assert done.returncode == 3
    assert said in done.stderr
    assert "hf auth login" in done.stderr
    assert "Wrong" not in done.stderr.replace("WrongRepo", "")
    assert not hub.files


def test_a_broken_upload_commits_nothing(run: Run, hub: Hub) -> None:
    hub.broken_uploads = True
    done = push(run, hub)
    assert done.returncode == 3
    assert "the upload to org/name failed" in done.stderr
    assert not hub.files
    assert open_run(run.path).record.pushed == []


@pytest.mark.parametrize("at", ["/repos/create", "/store/", "/commit/"])
def test_a_connection_that_is_cut_is_one_clear_error_and_can_be_tried_again(run: Run, hub: Hub, at: str) -> None:
    hub.cut = at
    done = push(run, hub)
    assert done.returncode == 3
    assert "the upload to org/name failed" in done.stderr
    assert "run it again" in done.stderr
    assert not hub.files
    hub.cut = None
    assert push(run, hub).returncode == 0
    assert hub.files == read(run.path / "merged")


def test_an_unreachable_hub_is_one_clear_error(run: Run) -> None:
    done = push(run, None, "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["exit_code"] == 3
    assert "org/name" in done.stderr


def test_a_missed_gate_must_be_waved_through(run: Run, hub: Hub) -> None:
    run.record.gates = [GateResult(gate="exact_match>=0.99", passed=False, reason="0.95 is below 0.99")]
    run.save()
    done = push(run, hub)
    assert done.returncode == 1
    assert "exact_match>=0.99" in done.stderr
    assert not hub.requests
    assert push(run, hub, "--missed-gates").returncode == 0
    assert b"It missed a gate" in hub.files["README.md"]


def test_a_run_without_a_merged_model_says_what_to_do(run: Run, hub: Hub) -> None:
    import shutil

    shutil.rmtree(run.path / "merged")
    done = push(run, hub)
    assert done.returncode == 3
    assert "ql merge" in done.stderr
    assert push(run, hub, "--repo", "no good/name", "--adapter").returncode == 3


def test_the_stand_in_refuses_a_bad_card() -> None:
    metadata: dict[str, Any] = {"license": 3}
    assert refuse_card(f"---\n{json.dumps(metadata)}\n---\n")
    assert refuse_card('---\n{"base_model": "/home/x"}\n---\n')
