"""A stop within seconds: what is left out for it, and made up when the training goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch")


@pytest.fixture
def ql_stop(inject: Callable[[str], ModuleType]) -> Any:
    return inject("ql_stop")


@pytest.fixture
def stop(ql_stop: Any, tmp_path: Path) -> Any:
    return ql_stop.Stop(str(tmp_path / "stop"))


def test_it_is_asked_for_by_a_file(ql_stop: Any, stop: Any, tmp_path: Path) -> None:
    assert not stop.asked()
    (tmp_path / "stop").write_text("")
    assert stop.asked()
    assert not stop.at_once()
    (tmp_path / "stop").write_text("now")
    assert stop.at_once()
    assert not ql_stop.Stop(None).asked()


def test_no_step_is_begun_that_would_be_lost(stop: Any, tmp_path: Path) -> None:
    (tmp_path / "stop").write_text("now")
    stop.wait()  # nothing was saved for it: the step goes on
    stop.waits = True
    remover = threading.Timer(0.2, (tmp_path / "stop").unlink)
    remover.start()
    stop.wait()
    assert not stop.waits
    assert not remover.is_alive()


def test_a_checkpoint_says_what_it_owes(ql_stop: Any, stop: Any, tmp_path: Path) -> None:
    stop.note(tmp_path)
    assert not (tmp_path / ql_stop.DUE).exists()
    stop.owed = True
    stop.note(tmp_path)
    assert (tmp_path / ql_stop.DUE).exists()


@pytest.mark.parametrize(
    ("metric", "greater", "found"),
    [("eval_loss", False, {"eval_loss": float("inf")}), ("f1", True, {"eval_f1": float("-inf")}), (None, None, {})],
)
def test_an_evaluation_that_is_left_out_wins_nothing(
    ql_stop: Any, metric: str | None, greater: bool | None, found: dict[str, float]
) -> None:
    def evaluate(self: object) -> dict[str, float]:
        raise ql_stop.Interrupted

    trainer = SimpleNamespace(
        args=SimpleNamespace(metric_for_best_model=metric, greater_is_better=greater),
        control=SimpleNamespace(should_evaluate=True),
    )
    assert ql_stop.interruptible(evaluate)(trainer) == found
    assert trainer.control.should_evaluate is False  # the end of an epoch would evaluate once more


def test_outside_of_a_training_there_is_no_trainer(ql_stop: Any) -> None:
    with pytest.raises(RuntimeError, match="no trainer is running"):
        ql_stop.running_trainer()
