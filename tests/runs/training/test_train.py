"""The stage train around a trainer: attempts, repairs, checkpoints. A script stands in for the trainer."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from script_trainer import Script

from launcher.processes import attempt
from launcher.processes.faults import TrainerFailed
from launcher.runs.observer import Silent
from launcher.runs.run import Run, create_run, new_manifest, open_run
from launcher.runs.training import train as training
from launcher.runs.training.train import train_to_the_end
from launcher.trainers.unsloth.codec import CODEC

PLAN = {
    "preset": "x", "backend": "axolotl", "method": "qlora", "base_model": "b", "micro_batch_size": 4, "keep": "best",
    "gradient_accumulation_steps": 2, "gradient_checkpointing": True, "activation_offload": False, "eval_batch_size": 2,
    "sequence_len": 512, "compute_dtype": "float16", "learning_rate": 1e-3, "packing": False, "on_cpu": True,
    "attn_implementation": "sdpa", "eval_rows": 4,
}  # fmt: skip
HEAD = """
import pathlib
from ql_checkpoint import seal
settings, resumed = json.loads(sys.argv[1]), sys.argv[2]
def save(step, best=None, **files):
    folder = pathlib.Path("trainer", f"checkpoint-{step}")
    folder.mkdir(parents=True, exist_ok=True)
    state = {"global_step": step, "max_steps": 6, "best_model_checkpoint": best}
    (folder / "trainer_state.json").write_text(json.dumps(state))
    (folder / "adapter_model.safetensors").write_text(f"weights of step {step}")
    (folder / "optimizer.pt").write_text("moments")
    (folder / "scaler.pt").write_text("scale")
    seal(folder)
    say("save", step=step)
start = int(resumed.rpartition("-")[2]) if resumed else 0
say("train_begin", step=start, max_steps=6)
def end():
    say("train_end", step=6, max_steps=6, stopped=False, seconds=1, tokens=9, skipped_steps=0, best_checkpoint=None,
        peak_memory_gib=1)
def out_of_memory(phase="train", step=None):
    say("crash", phase=phase, out_of_memory=True, message="CUDA out of memory", step=step)
    sys.exit(1)
"""


class Resumable(Script):
    """Takes its settings and the checkpoint to resume from, as the real ones do."""

    def arguments(self, changes: Mapping[str, Any], checkpoint: str) -> list[str]:
        return [json.dumps(dict(changes)), checkpoint]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    facts = {"plan": PLAN, "memory_fraction": None, "trainer_python": sys.executable, "notes": []}
    return create_run(tmp_path, "x", new_manifest(**facts))


@pytest.fixture
def train(run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], tuple[Script, dict[str, Any]]]]:
    monkeypatch.setattr(attempt, "POLL", 0.02)

    def go(body: str) -> tuple[Script, dict[str, Any]]:
        script = Resumable(HEAD + body)
        monkeypatch.setattr(training, "get_trainer", lambda name: SimpleNamespace(launch=script, codec=CODEC))
        try:
            return script, train_to_the_end(run, Silent(), lambda: "something smaller would fit")
        finally:
            go.script = script  # type: ignore[attr-defined]

    yield go


Train = Callable[[str], tuple[Script, dict[str, Any]]]


def test_out_of_memory_is_halved_until_it_fits(run: Run, train: Train) -> None:
    body = "if settings.get('micro_batch_size', 4) > 1:\n    save(2)\n    out_of_memory(step=3)\nend()\n"
    script, facts = train(body)
    assert facts["steps"] == 6
    assert script.started == [
        ({}, ""),
        ({"micro_batch_size": 2, "gradient_accumulation_steps": 4}, "trainer/checkpoint-2"),
        ({"micro_batch_size": 1, "gradient_accumulation_steps": 8}, "trainer/checkpoint-2"),
    ]
    data = open_run(run.path).data
    assert [repair["kind"] for repair in data["repairs"]] == ["oom_train", "oom_train"]
    assert data["plan"]["micro_batch_size"] == 4  # as planned
    assert open_run(run.path).plan["micro_batch_size"] == 1  # as it is


def test_what_never_fits_ends_with_what_would(run: Run, train: Train) -> None:
    with pytest.raises(TrainerFailed, match="something smaller would fit"):
        train("out_of_memory()\n")
    assert len(open_run(run.path).data["repairs"]) == 3  # 4 to 2 to 1, evaluation batch 2 to 1; then nothing is left


def test_an_overflow_goes_on_in_bfloat16_from_before_it(run: Run, train: Train) -> None:
    body = (
        "if settings.get('compute_dtype') != 'bfloat16':\n"
        "    save(2)\n    save(4)\n"
        "    say('fault', kind='fp16_overflow', step=5, evidence={'steps': 2, 'loss': 'nan'})\n"
        "    import time; time.sleep(600)\n"
        "end()\n"
    )
    script, facts = train(body)
    assert facts["steps"] == 6
    changes, checkpoint = script.started[1]
    assert changes == {"compute_dtype": "bfloat16"}
    assert checkpoint == "trainer/resume/checkpoint-2"  # 4 was saved when the loss was no number any more
    assert not (run.path / checkpoint / "scaler.pt").exists()
    assert (run.path / checkpoint / "optimizer.pt").exists()
    assert not (run.path / "trainer" / "checkpoint-4").exists()


def test_an_evaluation_that_mended_itself_is_recorded(run: Run, train: Train) -> None:
    script, _ = train("say('eval_batch', step=2, before=2, after=1, message='CUDA out of memory')\nend()\n")
    assert len(script.started) == 1
    [repair] = open_run(run.path).data["repairs"]
    assert (repair["kind"], repair["after"]) == ("oom_eval", {"eval_batch_size": 1})
    assert open_run(run.path).plan["eval_batch_size"] == 1


def test_a_death_without_a_word_is_tried_again_once(run: Run, train: Train) -> None:
    with pytest.raises(TrainerFailed, match="exit code 3"):
        train("save(2)\nsys.exit(3)\n")
    assert [checkpoint for _, checkpoint in train.script.started] == ["", "trainer/checkpoint-2"]  # type: ignore[attr-defined]


def test_an_exception_is_not_tried_again(run: Run, train: Train) -> None:
    with pytest.raises(TrainerFailed, match="bad rows"):
        train("say('crash', phase='train', out_of_memory=False, message='bad rows')\nraise ValueError('bad rows')\n")
    assert len(train.script.started) == 1  # type: ignore[attr-defined]


def test_a_fault_is_named_with_its_likely_cause(run: Run, train: Train) -> None:
    body = "say('fault', kind='labels_masked', step=2, evidence={'steps': 2})\nimport time; time.sleep(600)\n"
    with pytest.raises(TrainerFailed, match="chat template") as caught:
        train(body)
    assert caught.value.kind == "labels_masked"


def test_a_training_that_died_after_its_last_checkpoint_is_not_trained_again(run: Run, train: Train) -> None:
    body = "save(3)\nsave(6, best='trainer/checkpoint-3')\n"
    body += "open('trainer/adapter_model.safetensors', 'w').write('half')\nsys.exit(3)\n"
    script, facts = train(body)
    assert len(script.started) == 1
    assert facts["steps"] == 6
    assert facts["best_checkpoint"] == "checkpoint-3"
    trainer = run.path / "trainer"
    assert (trainer / "adapter_model.safetensors").read_text() == "weights of step 3"
    assert not (trainer / "optimizer.pt").exists()


def test_a_corrupt_checkpoint_is_put_aside_for_the_one_before(run: Run, train: Train) -> None:
    with pytest.raises(TrainerFailed):
        train("save(2)\nsave(4)\nsys.exit(3)\n")
    (run.path / "trainer" / "checkpoint-4" / "optimizer.pt").write_text("torn")
    script, _ = train("end()\n")
    assert script.started[0][1] == "trainer/checkpoint-2"
    assert not (run.path / "trainer" / "checkpoint-4").exists()
