"""One process per run, whatever became of the last one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.errors import RunFailed
from launcher.runs import lock
from launcher.runs.lock import has_begun, holder, is_locked, locked, say_begun

HOLD = """
import sys, time
from pathlib import Path
from launcher.runs.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "PAUSE", 0.001)


def test_a_second_process_is_refused_by_name_and_a_dead_one_is_stale(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert is_locked(tmp_path)
        with pytest.raises(RunFailed, match=f"process {other.pid} on"), locked(tmp_path):
            pass
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert not is_locked(tmp_path)
    assert holder(tmp_path)["pid"] == other.pid  # the file is still there: what it says is not what counts
    with locked(tmp_path):
        assert is_locked(tmp_path)
        assert holder(tmp_path)["pid"] != other.pid
    assert not is_locked(tmp_path)


def test_a_folder_without_a_lock_is_free(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    assert holder(tmp_path) == {}


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "\udcff"])
def test_a_damaged_lock_file_is_no_obstacle(tmp_path: Path, text: str) -> None:
    (tmp_path / "lock").write_text(text, errors="surrogateescape")
    assert holder(tmp_path) == {}
    with locked(tmp_path), pytest.raises(RunFailed, match="being worked on"), locked(tmp_path):
        pass


def test_the_holder_says_when_it_has_begun(tmp_path: Path) -> None:
    with locked(tmp_path):
        assert not has_begun(tmp_path, os.getpid())
        say_begun(tmp_path)
        assert has_begun(tmp_path, os.getpid())
        assert not has_begun(tmp_path, 1)
        assert holder(tmp_path)["since"]
    with locked(tmp_path):
        assert not has_begun(tmp_path, os.getpid())  # of the holder before
