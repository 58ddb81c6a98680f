"""Nothing outlives a run: neither its end, nor a launcher that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launcher.processes.child import child

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

# A trainer that starts a worker of its own, which leaves its group and its session; both write their ids.
TRAINER = """
import os, subprocess, sys, time
inner = "import os, sys, time; open(sys.argv[1] + '/inner', 'w').write(str(os.getpid())); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", inner, sys.argv[1]], start_new_session=True)
while not os.path.exists(sys.argv[1] + "/inner") or not open(sys.argv[1] + "/inner").read(): time.sleep(0.01)
open(sys.argv[1] + "/outer", "w").write(str(os.getpid()))
time.sleep(600)
"""
LAUNCHER = """
import os, sys, time
from launcher.processes.child import child
with child([sys.executable, "-c", sys.argv[2], sys.argv[1]], environment=os.environ, stdout=2, stderr=2) as process:
    process.wait()
"""


def wait_for(path: Path) -> int:
    while not (path.exists() and path.read_text()):
        time.sleep(0.01)
    return int(path.read_text())


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(*pids: int) -> None:
    while any(alive(pid) for pid in pids):  # pytest's timeout ends what never ends
        time.sleep(0.02)


def test_children_and_grandchildren_die_with_a_launcher_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", LAUNCHER, str(tmp_path), TRAINER]) as launcher:
        outer, inner = wait_for(tmp_path / "outer"), wait_for(tmp_path / "inner")
        assert alive(outer)
        assert alive(inner)
        launcher.send_signal(signal.SIGKILL)
    wait_until_gone(outer, inner)


def test_what_left_the_group_is_ended_with_the_block(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", TRAINER, str(tmp_path)]
    with child(argv, environment=os.environ, stdout=2, stderr=2):
        outer, inner = wait_for(tmp_path / "outer"), wait_for(tmp_path / "inner")
    assert not alive(outer)
    assert not alive(inner)


def test_one_child_ends_and_another_goes_on(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    argv = [sys.executable, "-c", TRAINER]
    with child([*argv, str(tmp_path / "a")], environment=os.environ, stdout=2, stderr=2):
        first = wait_for(tmp_path / "a" / "outer")
        with child([*argv, str(tmp_path / "b")], environment=os.environ, stdout=2, stderr=2):
            second = wait_for(tmp_path / "b" / "outer")
        assert not alive(second)
        assert alive(first)
