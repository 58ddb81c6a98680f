"""The stages as a state machine: each done once, recorded before the next, and taken up again wherever it was cut."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from launcher.errors import RunFailed
from launcher.preparing.asked import Asked
from launcher.preparing.export import export
from launcher.preparing.prepare import prepare, prepare_asked
from launcher.preparing.request import make_request
from launcher.records.run import STAGES, Repair
from launcher.runs import execute as executing
from launcher.runs import stages
from launcher.runs.execute import execute, first_unfinished
from launcher.runs.launch import LaunchOptions, _create
from launcher.runs.observer import Silent
from launcher.runs.run import Run, create_run, open_run
from manifests import new_manifest

PLAN = {"preset": "cpu-tiny", "backend": "axolotl", "method": "qlora", "base_model": "x", "compute_dtype": "float32"}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return create_run(tmp_path / "runs", "x", new_manifest(plan=PLAN, notes=[], golden=None, gates=[]))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Stages that only say that they ran."""
    done: list[str] = []

    def stage(name: str) -> Callable[[Run, Any], None]:
        def run_it(run: Run, observer: Any) -> None:
            done.append(name)
            run.record.extra.setdefault("results", {})[name] = len(done)

        return run_it

    monkeypatch.setattr(executing, "_stages", lambda run, prepared: {name: stage(name) for name in STAGES})
    yield done


def test_every_stage_runs_once_and_in_order(run: Run, counted: list[str]) -> None:
    execute(run, Silent())
    assert counted == list(STAGES)
    again = open_run(run.path)
    assert again.record.state == "finished"
    assert first_unfinished(again) is None
    execute(again, Silent())
    assert counted == list(STAGES)


def test_the_command_that_goes_on_can_be_pasted_whatever_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(run: Run, observer: Any) -> None:
        raise RunFailed("broken")

    run = create_run(tmp_path, "x", new_manifest(plan=PLAN, notes=[]), exactly=tmp_path / "my $run")
    monkeypatch.setattr(executing, "_stages", lambda run, prepared: {"train": broken})
    with pytest.raises(RunFailed) as caught:
        execute(run, Silent())
    assert f"ql resume '{run.path}' goes on" in str(caught.value)


def test_a_folder_that_is_removed_meanwhile_is_what_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def removed(run: Run, observer: Any) -> None:
        shutil.rmtree(run.path)

    monkeypatch.setattr(executing, "_stages", lambda run, prepared: {"train": removed})
    with pytest.raises(RunFailed, match="was moved or removed while the run went on") as caught:
        execute(run, Silent())
    assert len(caught.value.problems) == 1


def test_a_power_cut_at_any_instant_leaves_a_run_that_is_brought_to_its_end(
    run: Run, counted: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is copied before and after each rename, which is when what a crash leaves behind changes."""
    instants: list[Path] = []
    replace = Path.replace

    def copy() -> None:
        instants.append(tmp_path / "instants" / f"{len(instants):03}")
        shutil.copytree(run.path, instants[-1])

    def watched(self: Path, target: Any) -> Path:
        copy()
        result = replace(self, target)
        copy()
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", watched)
        execute(run, Silent())
    assert len(instants) >= 2 * 2 * len(STAGES)
    for instant in instants:
        cut = open_run(instant)
        done = [stage.name for stage in cut.record.stages if stage.state == "done"]
        assert done == list(STAGES[: len(done)])
        assert set(done) <= set(cut.record.extra.get("results", {})), "a stage was done before its result was recorded"
        counted.clear()
        execute(cut, Silent())
        assert counted == list(STAGES[len(done) :])
        assert open_run(instant).record.state == "finished"
        assert not [path.name for path in instant.iterdir() if path.name.startswith(".")], "temporary files stayed"


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_stops_the_run_and_says_so(
    run: Run, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, error: type[BaseException]
) -> None:
    def stage(run: Run, observer: Any) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr(executing, "_stages", lambda run, prepared: {"train": stage})
    before = signal.getsignal(number)
    with pytest.raises(error):
        execute(run, Silent())
    assert signal.getsignal(number) == before
    found = open_run(run.path)
    assert found.record.state == "stopped"
    assert found.stage("train").state == "stopped"


def test_a_signal_before_the_first_stage_leaves_a_run_that_says_stopped(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Run.save

    def interrupted(self: Run) -> None:
        save(self)
        monkeypatch.setattr(Run, "save", save)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Run, "save", interrupted)
    with pytest.raises(SystemExit):
        execute(run, Silent())
    assert open_run(run.path).record.state == "stopped"


def test_a_closed_terminal_stops_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stage(run: Run, observer: Any) -> None:
        os.kill(os.getpid(), signal.SIGHUP)

    monkeypatch.setattr(executing, "_stages", lambda run, prepared: {"train": stage})
    execute(run, Silent())
    assert open_run(run.path).record.state == "finished"


def test_a_full_disk_is_one_clear_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stage(run: Run, observer: Any) -> None:
        raise OSError(28, "No space left on device", "merged")

    monkeypatch.setattr(executing, "_stages", lambda run, prepared: {"merge": stage})
    with pytest.raises(RunFailed, match="No space left on device") as caught:
        execute(run, Silent())
    assert f"ql resume {run.path}" in str(caught.value)
    assert open_run(run.path).stage("merge").state == "failed"


def test_a_stages_time_adds_up_over_its_attempts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.stage("train").seconds = 100.0
    monkeypatch.setattr(executing, "_stages", lambda run, prepared: {"train": lambda run, observer: None})
    execute(run, Silent())
    assert json.loads((run.path / "run.json").read_text())["stages"][1]["seconds"] >= 100.0


def test_a_smaller_batch_of_the_golden_set_is_recorded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    message = {"event": "repair", "kind": "oom_eval", "before": 8, "after": 4}
    progress = {"event": "progress", "done": 1, "total": 2}

    def call_worker(python: str, job: str, request: Any, log: Path, hear: Callable[[Any], None]) -> dict[str, Any]:
        hear(progress)
        hear(message)
        return {}

    class Listener(Silent):
        heard: ClassVar[list[Any]] = []

        def progress(self, stage: str, message: dict[str, Any]) -> None:
            self.heard.append(message)

        def repair(self, record: Repair) -> None:
            self.heard.append(record.kind)

    monkeypatch.setattr(stages, "call_worker", call_worker)
    run.record.trainer_python = "python"
    stages.worker(run, "evaluate", Listener())("golden", {})
    assert Listener.heard == [progress, "oom_eval"]
    [repair] = open_run(run.path).record.repairs
    assert (repair.stage, repair.after) == ("evaluate", {"golden_batch_size": 4})


def test_a_config_that_was_edited_while_its_run_lay_in_prepare_is_noticed(tmp_path: Path, tickets: Path) -> None:
    """The plan knows nothing of a key that is passed through."""
    folder = tmp_path / "mine"
    export(prepare(make_request(preset="cpu-tiny", backend="axolotl"), tickets), folder)
    asked = Asked(None, config=str(folder / "config.yaml"), preset="cpu-tiny")
    prepared = prepare_asked(asked, "python")
    options = LaunchOptions(runs_dir=tmp_path / "runs", trainer_python="python", asked=asked)
    run = _create(prepared, options, {}, None, [])
    assert executing._prepare_again(open_run(run.path), Silent()).files == prepared.files
    with (folder / "config.yaml").open("a") as stream:
        stream.write("\nneftune_noise_alpha: 5\n")
    assert prepare_asked(asked, "python").plan == prepared.plan
    with pytest.raises(RunFailed, match=r"changed since, config\.yaml") as caught:
        executing._prepare_again(open_run(run.path), Silent())
    assert str(folder / "config.yaml") in str(caught.value)
