"""The stage train around a trainer: attempts, repairs, checkpoints. A script stands in for the trainer."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scenario import Scenario
from script_trainer import Script

from launcher.processes import attempt
from launcher.processes.faults import TrainerFailed
from launcher.runs.observer import Silent
from launcher.runs.run import Run, create_run, open_run
from launcher.runs.training import train as training
from launcher.runs.training.train import train_to_the_end
from launcher.trainers.unsloth.codec import CODEC
from manifests import new_manifest

PLAN = {
    "preset": "x", "backend": "axolotl", "method": "qlora", "base_model": "b", "micro_batch_size": 4, "keep": "best",
    "gradient_accumulation_steps": 2, "gradient_checkpointing": True, "activation_offload": False, "eval_batch_size": 2,
    "sequence_len": 512, "compute_dtype": "float16", "learning_rate": 1e-3, "packing": False, "on_cpu": True,
    "attn_implementation": "sdpa", "eval_rows": 4,
}  # fmt: skip
BEGUN = Scenario().begin(steps=6)
ENDS = BEGUN.end()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    facts = {"plan": PLAN, "memory_fraction": None, "trainer_python": sys.executable, "notes": []}
    return create_run(tmp_path, "x", new_manifest(**facts))


@dataclass
class Training:
    """Trains the run with a trainer that does what a scenario says; ``started`` are its starts in the last call."""

    run: Run
    patch: pytest.MonkeyPatch
    started: list[tuple[dict[str, Any], str]] = field(default_factory=list)

    def __call__(self, scenario: Scenario) -> dict[str, Any]:
        script = Script(scenario)
        self.started = script.started
        self.patch.setattr(training, "get_trainer", lambda name: SimpleNamespace(launch=script, codec=CODEC))
        return train_to_the_end(self.run, Silent(), lambda: "something smaller would fit")


@pytest.fixture
def train(run: Run, monkeypatch: pytest.MonkeyPatch) -> Training:
    monkeypatch.setattr(attempt, "POLL", 0.02)
    return Training(run, monkeypatch)


def test_out_of_memory_is_halved_until_it_fits(run: Run, train: Training) -> None:
    too_large = Scenario().save(2).out_of_memory(step=3)
    facts = train(BEGUN.while_above("micro_batch_size", 1, planned=4, story=too_large).end())
    assert facts.steps == 6
    assert train.started == [
        ({}, ""),
        ({"micro_batch_size": 2, "gradient_accumulation_steps": 4}, "trainer/checkpoint-2"),
        ({"micro_batch_size": 1, "gradient_accumulation_steps": 8}, "trainer/checkpoint-2"),
    ]
    record = open_run(run.path).record
    assert [repair.kind for repair in record.repairs] == ["oom_train", "oom_train"]
    assert record.plan["micro_batch_size"] == 4  # as planned
    assert open_run(run.path).plan["micro_batch_size"] == 1  # as it is


def test_what_never_fits_ends_with_what_would(run: Run, train: Training) -> None:
    with pytest.raises(TrainerFailed, match="something smaller would fit"):
        train(BEGUN.out_of_memory())
    assert len(open_run(run.path).record.repairs) == 3  # 4 to 2 to 1, evaluation batch 2 to 1; then nothing is left


def test_an_overflow_goes_on_in_bfloat16_from_before_it(run: Run, train: Training) -> None:
    overflows = Scenario().save(2).save(4).fault("fp16_overflow", step=5, steps=2, loss="nan").hang()
    facts = train(BEGUN.unless("compute_dtype", "bfloat16", story=overflows).end())
    assert facts.steps == 6
    changes, checkpoint = train.started[1]
    assert changes == {"compute_dtype": "bfloat16"}
    assert checkpoint == "trainer/resume/checkpoint-2"  # 4 was saved when the loss was no number any more
    assert not (run.path / checkpoint / "scaler.pt").exists()
    assert (run.path / checkpoint / "optimizer.pt").exists()
    assert not (run.path / "trainer" / "checkpoint-4").exists()


def test_an_evaluation_that_mended_itself_is_recorded(run: Run, train: Training) -> None:
    train(BEGUN.say("eval_batch", step=2, before=2, after=1, message="CUDA out of memory").end())
    assert len(train.started) == 1
    [repair] = open_run(run.path).record.repairs
    assert (repair.kind, repair.after) == ("oom_eval", {"eval_batch_size": 1})
    assert open_run(run.path).plan["eval_batch_size"] == 1


def test_a_death_without_a_word_is_tried_again_once(run: Run, train: Training) -> None:
    with pytest.raises(TrainerFailed, match="exit code 3"):
        train(BEGUN.save(2).exit(3))
    assert [checkpoint for _, checkpoint in train.started] == ["", "trainer/checkpoint-2"]


def test_an_exception_is_not_tried_again(run: Run, train: Training) -> None:
    with pytest.raises(TrainerFailed, match="bad rows"):
        train(BEGUN.crash(ValueError("bad rows")))
    assert len(train.started) == 1


def test_a_fault_is_named_with_its_likely_cause(run: Run, train: Training) -> None:
    with pytest.raises(TrainerFailed, match="chat template") as caught:
        train(BEGUN.fault("labels_masked", step=2, steps=2).hang())
    assert caught.value.kind == "labels_masked"


def test_a_training_that_died_after_its_last_checkpoint_is_not_trained_again(run: Run, train: Training) -> None:
    saved = BEGUN.save(3).save(6, best="trainer/checkpoint-3")
    facts = train(saved.write("trainer/adapter_model.safetensors", "half").exit(3))
    assert len(train.started) == 1
    assert facts.steps == 6
    assert facts.best_checkpoint == "checkpoint-3"
    trainer = run.path / "trainer"
    assert (trainer / "adapter_model.safetensors").read_text() == "weights of step 3"
    assert not (trainer / "optimizer.pt").exists()


def test_a_corrupt_checkpoint_is_put_aside_for_the_one_before(run: Run, train: Training) -> None:
    with pytest.raises(TrainerFailed):
        train(BEGUN.save(2).save(4).exit(3))
    (run.path / "trainer" / "checkpoint-4" / "optimizer.pt").write_text("torn")
    train(ENDS)
    assert train.started[0][1] == "trainer/checkpoint-2"
    assert not (run.path / "trainer" / "checkpoint-4").exists()


def test_an_evaluation_that_the_last_step_owes_is_made_up_before_the_best_is_chosen(run: Run, train: Training) -> None:
    fourth, sixth = "trainer/checkpoint-4", "trainer/checkpoint-6"
    stopped = BEGUN.log(6).evaluate(4, loss=0.5).save(4, best=fourth).save(6, best=fourth, owes=True)
    with pytest.raises(TrainerFailed):
        train(stopped.crash(ValueError("the machine is gone")))
    facts = train(BEGUN.evaluate(6, loss=0.25).save(6, best=sixth).end())
    assert train.started == [({}, sixth)]
    assert (facts.best_checkpoint, facts.best_eval_loss, facts.final_loss) == ("checkpoint-6", 0.25, 1 / 6)
    assert (run.path / "trainer" / "adapter_model.safetensors").read_text() == "weights of step 6"
    again = train(BEGUN.fail(ValueError("nothing is left to do")))
    assert train.started == []
    assert again == facts
