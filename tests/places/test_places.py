"""A place is one module: it is found by itself, sent a run, asked how that stands, and told to stop it."""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path

import pytest

from launcher import places
from launcher.errors import RunFailed, Unreadable
from launcher.places import PlaceState, Submission, Wants, get_place, place_names, read_submitted, submit
from launcher.places.detached import Detached
from launcher.runs.lock import locked
from launcher.runs.run import Run, create_run
from manifests import ON_CPU, new_manifest

NEW_PLACE = '''
"""A queue in a folder, as a batch system is one for whoever looks at it from outside."""
import json, subprocess
from pathlib import Path
from launcher.places.base import PlaceState, Submission

class Queue:
    name, summary, grace_seconds = "queue", "in a queue", 30.0

    def submit(self, submission: Submission) -> str:
        ticket = submission.folder / "ticket.json"
        ticket.write_text(json.dumps({"command": submission.command, "gib": submission.wants.gib}))
        return ticket.name

    def state(self, folder: Path, handle: str) -> PlaceState:
        return PlaceState("waiting" if (folder / handle).exists() else "gone", handle)

    def stop(self, folder: Path, handle: str) -> None:
        (folder / handle).unlink(missing_ok=True)

    def fetch(self, folder: Path, handle: str) -> None:
        (folder / "fetched").touch()

PLACE = Queue()
'''


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return create_run(tmp_path, "x", new_manifest(plan=ON_CPU))


def test_a_new_place_is_one_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "queue.py").write_text(NEW_PLACE)
    monkeypatch.setattr(places, "__path__", [*places.__path__, str(tmp_path / "more")])
    places.place_names.cache_clear()
    try:
        assert place_names() == ("detached", "here", "queue")
        place = get_place("queue")
        told = submit(place, Submission(run.path, Wants("a10g", 20.5, 2.0), ("--trainer-python", "/x/python")))
        assert read_submitted(run.path) == told
        assert (told.place, told.handle) == ("queue", "ticket.json")
        ticket = (run.path / "ticket.json").read_text()
        assert f'"start", "{run.path}", "--trainer-python", "/x/python"' in ticket
        assert place.state(run.path, told.handle) == PlaceState("waiting", "ticket.json")
        place.fetch(run.path, told.handle)
        assert (run.path / "fetched").exists()
        place.stop(run.path, told.handle)
        assert place.state(run.path, told.handle).kind == "gone"
    finally:
        places.place_names.cache_clear()
        sys.modules.pop("launcher.places.queue", None)


@pytest.mark.parametrize("name", place_names())
def test_each_place_is_called_as_its_module(name: str) -> None:
    place = get_place(name)
    assert place.name == name
    assert place.summary


def test_no_such_place() -> None:
    with pytest.raises(Unreadable, match="no place 'detatched'") as caught:
        get_place("detatched")
    assert "detached" in str(caught.value)


def test_here_is_done_when_it_is_submitted(run: Run) -> None:
    done: list[str] = []
    told = submit(get_place("here"), Submission(run.path, Wants("cpu"), here=lambda: done.append("x")))
    assert done == ["x"]
    assert told.handle == str(os.getpid())
    assert get_place("here").state(run.path, told.handle).kind == "ended"
    with locked(run.path):
        assert get_place("here").state(run.path, told.handle).kind == "running"


class Sleeper(Submission):
    """Takes the run's lock, as `ql start` does, and leaves at SIGTERM."""

    @property
    def command(self) -> list[str]:
        code = (
            "import sys, time, pathlib\nfrom launcher.runs.lock import locked, say_begun\n"
            "run = pathlib.Path(sys.argv[1])\nwith locked(run):\n    say_begun(run)\n    time.sleep(60)\n"
        )
        return [sys.executable, "-c", code, str(self.folder)]


def test_a_detached_process_is_found_again_and_stopped(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    place = Detached()
    handle = place.submit(Sleeper(run.path, Wants("cpu")))
    assert handle.startswith(f"{socket.gethostname()}:")
    assert Detached().state(run.path, handle).kind == "running"
    with pytest.raises(RunFailed, match="is being worked on by process"):
        place.submit(Sleeper(run.path, Wants("cpu")))
    place.stop(run.path, handle)
    for _ in range(200):
        if place.state(run.path, handle).kind == "ended":
            break
        time.sleep(0.05)
    assert place.state(run.path, handle).kind == "ended"
    place.stop(run.path, handle)  # once more is nothing
    assert place.state(run.path, "elsewhere:1").kind == "gone"


class Loser(Submission):
    """Takes the run's lock, looks, and must not go on."""

    @property
    def command(self) -> list[str]:
        code = (
            "import sys, time, pathlib\nfrom launcher.runs.lock import locked\n"
            "with locked(pathlib.Path(sys.argv[1])):\n    time.sleep(1)\n    sys.exit('changed inputs')\n"
        )
        return [sys.executable, "-c", code, str(self.folder)]


def test_who_holds_the_run_has_not_begun_yet(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    with pytest.raises(RunFailed, match="did not begin: changed inputs") as caught:
        Detached().submit(Loser(run.path, Wants("cpu")))
    assert caught.value.exit_code == 1


def test_a_place_that_does_not_take_it_leaves_no_trace(run: Run) -> None:
    class Refusing(Detached):
        def submit(self, submission: Submission) -> str:
            raise RunFailed("the queue is closed")

    with pytest.raises(RunFailed):
        submit(Refusing(), Submission(run.path, Wants("cpu")))
    assert read_submitted(run.path) is None


def test_a_damaged_record_says_so(run: Run) -> None:
    (run.path / "place.json").write_text("{")
    with pytest.raises(Unreadable, match=r"place\.json cannot be read"):
        read_submitted(run.path)
