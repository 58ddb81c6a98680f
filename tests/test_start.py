"""How the process begins: what it does when it is interrupted at once, or is given no streams."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

# Interrupts the process in the middle of an import, as a person who pressed Enter too soon does.
INTERRUPTED = """
import os, signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may be deaf to it

class Hurry:
    def find_spec(self, name, *rest):
        if name == "click":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Hurry())
from launcher.__main__ import start
sys.argv = ["ql", "--version"]
start()
"""


def test_ctrl_c_while_it_loads_shows_no_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_whoever_starts_it_deaf_to_ctrl_c_keeps_it_so() -> None:
    deaf = INTERRUPTED.replace("class Hurry", "signal.signal(signal.SIGINT, signal.SIG_IGN)\nclass Hurry")
    done = subprocess.run([sys.executable, "-c", deaf], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ql, version")


@pytest.mark.parametrize(("closed", "code"), [(">&-", 0), (">&- 2>&-", 0), ("<&- >&- 2>&-", 0), (">/dev/full 2>&-", 3)])
def test_closed_streams_end_nothing(closed: str, code: int) -> None:
    command = f'"{sys.executable}" -m launcher presets {closed}'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr


def test_a_full_stdout_is_one_error_with_json_too() -> None:
    command = f'"{sys.executable}" -m launcher presets --json >/dev/full'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr
