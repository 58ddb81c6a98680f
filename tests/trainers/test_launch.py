"""Supervision of a trainer: overlay, environment, events, each way in which it can end. A script stands in for it."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from scenario import Scenario
from script_trainer import Script

from launcher.errors import RunFailed, Unreadable
from launcher.records.codec import decode, encode
from launcher.records.run import Training
from launcher.trainers import get_trainer
from launcher.trainers.launch import Events

BEST = {"best_checkpoint": "checkpoint-3", "best_eval_loss": 0.5}
WHOLE = Scenario().begin().log(1).log(2).log(3).evaluate(3, loss=0.5).end(**BEST)
CUT = Scenario().begin().log(1)


def trainer(scenario: Scenario) -> Script:
    return Script(scenario, config={"added": 1}, environment={"SCRIPT": "yes"})


def run(
    folder: Path, scenario: Scenario, *, fraction: float | None = None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    heard: list[dict[str, Any]] = []
    outcome = trainer(scenario).train(folder, python=sys.executable, memory_fraction=fraction, on_event=heard.append)
    return outcome, heard


def test_early_stopping_is_a_finished_training(tmp_path: Path) -> None:
    outcome, _ = run(tmp_path, Scenario().begin().log(1).log(2).end(2, ended_early=True))
    assert outcome.steps == 2


def test_the_outcome_of_a_whole_run(tmp_path: Path) -> None:
    outcome, heard = run(tmp_path, WHOLE)
    assert [event["event"] for event in heard] == ["train_begin", "log", "log", "log", "eval", "train_end"]
    assert outcome.steps == 3
    assert outcome.final_loss == pytest.approx(1 / 3)
    assert outcome.best_eval_loss == 0.5
    assert outcome.peak_memory_gib == 2.5
    assert outcome.tokens_per_second == 30.0  # the first two steps warm up


def test_the_overlay_is_written_down(tmp_path: Path) -> None:
    run(tmp_path, WHOLE, fraction=0.5)
    overlay = yaml.safe_load((tmp_path / "overlay.yaml").read_text())
    assert overlay["config"] == {"added": 1}
    assert overlay["environment"]["SCRIPT"] == "yes"
    for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"):
        assert overlay["environment"][name] == "expandable_segments:True,per_process_memory_fraction:0.5"
    assert overlay["command"][0] == sys.executable


def test_only_our_inject_folder_comes_before_a_persons_own_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    _, heard = run(tmp_path, Scenario().tell_environment("PYTHONPATH").then(WHOLE))
    ours, *rest = heard[0]["value"].split(os.pathsep)
    assert rest == ["/somewhere"]
    modules = [path.name for path in Path(ours).iterdir() if path.name != "__pycache__"]
    assert all(name.startswith("ql_") and name.endswith(".py") for name in modules), modules


def test_what_it_prints_is_kept(tmp_path: Path) -> None:
    run(tmp_path, Scenario().print("hello").print("trouble", to_stderr=True).then(WHOLE))
    assert {"hello", "trouble"} <= set((tmp_path / "train.log").read_text().splitlines())


@pytest.mark.parametrize(
    ("scenario", "said"),
    [
        (Scenario().begin().exit(7), "exit code 7"),
        (Scenario().begin().fail(ValueError("bad rows")), "ValueError: bad rows"),
        (Scenario().use("no_such_trainer"), "No module named 'no_such_trainer'"),
        (Scenario().fail(RuntimeError("torch.OutOfMemoryError: CUDA out of memory.")), "ran out of GPU memory"),
        (Scenario().killed(), "signal 9"),
        (Scenario(), "ended without training"),
        (CUT, "in the midst of training"),  # what an interrupted Axolotl looks like: exit code 0
        (Scenario().begin().log(1).end(1, stopped=True), "stopped at step 1 of 3"),
    ],
)
def test_a_run_that_did_not_finish_has_failed(tmp_path: Path, scenario: Scenario, said: str) -> None:
    with pytest.raises(RunFailed, match=said) as failed:
        run(tmp_path, scenario)
    assert "train.log" in str(failed.value)


def test_an_earlier_attempt_does_not_count(tmp_path: Path) -> None:
    run(tmp_path, WHOLE)
    with pytest.raises(RunFailed, match="in the midst of training"):
        run(tmp_path, CUT)
    outcome, heard = run(tmp_path, WHOLE)
    assert outcome.steps == 3
    assert len(heard) == 6  # only what is new is passed on


def test_an_interruption_asks_for_a_checkpoint_and_waits_for_it(tmp_path: Path) -> None:
    saves = Scenario().begin().wait_until_asked_to_stop().sleep(0.3).write("saved")

    def interrupt(event: dict[str, Any]) -> None:
        if event["event"] == "train_begin":
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()

    # A process started in the background ignores SIGINT: it would never be interrupted.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            trainer(saves).train(tmp_path, python=sys.executable, memory_fraction=None, on_event=interrupt)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "saved").exists()


def test_an_old_request_to_stop_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "stop").touch()
    _, heard = run(tmp_path, Scenario().tell_what_is_asked().then(WHOLE))
    assert heard[0]["how"] is None


def test_events_wait_for_the_end_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events = Events(path)
    assert list(events) == []
    path.write_text('{"event": "a"}\n{"eve')
    assert list(events) == [{"event": "a"}]
    with path.open("a") as stream:
        stream.write('nt": "b"}\n')
    assert list(events) == [{"event": "b"}]
    assert list(events) == []


def test_a_line_cut_by_a_crash_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events = Events(path)
    path.write_text('{"event": "a"}\n{"eve{"event": "b"}\n{"event": "c"}\n')
    assert [event["event"] for event in events] == ["a", "c"]


# --- the real backends' overlays; tests/acceptance runs them ---


def test_rows_that_were_tokenised_by_half_are_not_trusted(tmp_path: Path) -> None:
    half = tmp_path / "trainer" / "prepared" / "f5ae"
    half.mkdir(parents=True)
    get_trainer("unsloth").launch.clear(tmp_path)
    assert half.is_dir()
    get_trainer("axolotl").launch.clear(tmp_path)
    assert not half.exists()


@pytest.mark.parametrize("own", [{"dataloader_num_workers": 2}, {"dataloader_pin_memory": False}])
def test_a_persons_own_way_to_load_rows_holds(tmp_path: Path, own: dict[str, object]) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    overlay = get_trainer("axolotl").launch.overlay(tmp_path, "/venv/bin/python", {})
    assert "dataloader_num_workers" not in overlay.config


def test_axolotl_reads_config_and_overlay_together(tmp_path: Path) -> None:
    config = {"plugins": ["axolotl.integrations.liger.LigerPlugin"], "base_model": "é", "seed": 1}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    overlay = get_trainer("axolotl").launch.overlay(tmp_path, "/venv/bin/python", {})
    assert overlay.command[:3] == ["/venv/bin/python", "-m", "axolotl.cli.main"]
    assert overlay.command[-2:] == ["--launcher", "python"]
    effective = next(word for word in overlay.command if word.endswith(".yaml"))
    read = yaml.safe_load((tmp_path / effective).read_text(encoding="utf-8"))
    plugins = ["axolotl.integrations.liger.LigerPlugin", "ql_axolotl.TelemetryPlugin"]
    assert read == config | {"plugins": plugins, "dataloader_num_workers": 0}
    assert yaml.safe_load((tmp_path / "config.yaml").read_text(encoding="utf-8")) == config


def test_unsloth_runs_the_runs_own_train_py(tmp_path: Path) -> None:
    overlay = get_trainer("unsloth").launch.overlay(tmp_path, "/venv/bin/python", {})
    wrapper, script, config = overlay.command[1:]
    assert Path(wrapper).name == "ql_unsloth.py"
    assert Path(wrapper).is_file()
    assert (script, config) == ("train.py", "config.yaml")
    assert Path(overlay.environment["UNSLOTH_COMPILE_LOCATION"]).is_relative_to(tmp_path)


def test_changes_of_a_run_are_read_by_the_trainer_and_leave_the_config_alone(tmp_path: Path) -> None:
    text = "# mine\noutput_dir: ./out\nseed: 1\n"
    for name in ("axolotl", "unsloth"):
        (tmp_path / "config.yaml").write_text(text)
        overlay = get_trainer(name).launch.overlay(tmp_path, "/venv/bin/python", {"output_dir": "trainer"})
        assert overlay.config["output_dir"] == "trainer"
        assert "effective.yaml" in overlay.command
        read = yaml.safe_load((tmp_path / "effective.yaml").read_text())
        assert (read["output_dir"], read["seed"]) == ("trainer", 1)
        assert (tmp_path / "config.yaml").read_text() == text


def test_an_unknown_backend_gets_the_nearest_name() -> None:
    with pytest.raises(Unreadable, match="axolotl"):
        get_trainer("axolotol")


def test_facts_are_json(tmp_path: Path) -> None:
    outcome, _ = run(tmp_path, WHOLE)
    assert decode(Training, json.loads(json.dumps(encode(outcome)))) == outcome
