"""Children end with us, whatever ends us, and so do their children."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.errors import RunFailed
from launcher.processes.child import child, child_environment, tail

# Starts a grandchild, writes both process numbers, and sleeps.
FAMILY = """
import os, subprocess, sys, time
inner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
with open(sys.argv[1] + ".part", "w") as stream:
    stream.write(f"{os.getpid()} {inner.pid}")
os.rename(sys.argv[1] + ".part", sys.argv[1])
time.sleep(60)
"""


def alive(number: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def family(path: Path) -> tuple[int, int]:
    assert wait_for(path.exists)
    outer, inner = path.read_text().split()
    return int(outer), int(inner)


def test_what_is_meant_for_other_programs_stays_here(monkeypatch: pytest.MonkeyPatch) -> None:
    others = ("PYTHONWARNINGS", "PYTHONOPTIMIZE", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "ACCELERATE_USE_FSDP")
    for name in others:
        monkeypatch.setenv(name, "2")
    monkeypatch.setenv("MY_RANK", "2")
    assert not {*others} & {*child_environment()}
    assert child_environment()["MY_RANK"] == "2"


def test_caches_are_where_the_person_means_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", "hf")
    monkeypatch.setenv("HF_DATASETS_CACHE", "/elsewhere/data")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    found = child_environment()
    assert found["HF_HOME"] == str(tmp_path / "hf")
    assert found["HF_DATASETS_CACHE"] == "/elsewhere/data"
    assert found["XDG_CACHE_HOME"] == ""


def test_a_persons_own_wait_policy_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert child_environment()["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert child_environment()["OMP_WAIT_POLICY"] == "ACTIVE"


@pytest.mark.parametrize(
    ("given", "seen"), [(None, "0"), ("0,1", "0"), ("3", "3"), ("2,0,1", "2"), ("GPU-8f2e,GPU-1", "GPU-8f2e"), ("", "")]
)
def test_a_trainer_sees_one_card(monkeypatch: pytest.MonkeyPatch, given: str | None, seen: str) -> None:
    """The first of those that the person lets it see; none stays none."""
    if given is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert child_environment()["CUDA_VISIBLE_DEVICES"] == seen


def test_the_whole_group_ends_with_the_block(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", FAMILY, str(tmp_path / "family")]
    quiet = subprocess.DEVNULL
    with child(argv, environment=child_environment(), stdout=quiet, stderr=quiet) as process:
        outer, inner = family(tmp_path / "family")
        assert process.pid == outer
        assert os.getpgid(outer) == os.getpgid(inner) != os.getpgid(0)
        assert alive(inner)
    assert process.returncode == -signal.SIGKILL
    assert wait_for(lambda: not alive(inner))


def test_a_term_to_everything_reaches_no_child(tmp_path: Path) -> None:
    """Nor what it starts: whoever signals a whole job must not kill the trainer before it was asked to save."""
    argv = [sys.executable, "-c", FAMILY, str(tmp_path / "family")]
    quiet = subprocess.DEVNULL
    with child(argv, environment=child_environment(), stdout=quiet, stderr=quiet):
        outer, inner = family(tmp_path / "family")
        for pid in (outer, inner):
            os.kill(pid, signal.SIGTERM)
        time.sleep(0.3)
        assert alive(outer)
        assert alive(inner)


def test_what_a_finished_child_left_behind_is_ended(tmp_path: Path) -> None:
    leaves = FAMILY.rpartition("time.sleep(60)")[0]
    argv = [sys.executable, "-c", leaves, str(tmp_path / "family")]
    quiet = subprocess.DEVNULL
    with child(argv, environment=child_environment(), stdout=quiet, stderr=quiet) as process:
        _, inner = family(tmp_path / "family")
        assert process.wait(20) == 0
        assert alive(inner)
    assert wait_for(lambda: not alive(inner))


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_a_child_ends_when_we_are_killed_outright(tmp_path: Path) -> None:
    launcher = (
        "import subprocess, sys\n"
        "from launcher.processes.child import child, child_environment\n"
        "with child(sys.argv[1:], environment=child_environment(), stdout=-3, stderr=-3) as process:\n"
        "    process.wait()\n"
    )
    ours = subprocess.Popen(
        [sys.executable, "-c", launcher, sys.executable, "-c", FAMILY, str(tmp_path / "family")],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    outer, inner = family(tmp_path / "family")
    try:
        ours.kill()
        ours.wait()
        assert wait_for(lambda: not alive(outer))
    finally:
        os.kill(inner, signal.SIGKILL)


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    quiet = subprocess.DEVNULL
    with (
        pytest.raises(RunFailed, match="cannot run") as failed,
        child([str(tmp_path / "python")], environment={}, stdout=quiet, stderr=quiet),
    ):
        pass
    assert "--trainer-python" in str(failed.value)


def test_nothing_is_sent_home_and_nothing_is_imported_from_the_working_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KEPT", "1")
    environment = child_environment({"EXTRA": "2"})
    for key in ("DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY"):
        assert environment[key] == "1"
    assert (environment["PYTHONSAFEPATH"], environment["KEPT"], environment["EXTRA"]) == ("1", "1", "2")


def test_the_tail_of_a_log_is_without_progress_bars(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_bytes(b"first\n 10%|#  | 1/10\r 20%|## | 2/10\rdone\n\n\xff last\n")
    assert tail(log) == ["first", "done", "\ufffd last"]
    assert tail(log, 1) == ["\ufffd last"]
    assert tail(tmp_path / "none") == []
