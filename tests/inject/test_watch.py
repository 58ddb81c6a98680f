"""What the watch makes of losses, labels, gradients and skipped steps; and the callback around it in a real Trainer."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.inject.conftest import read_events

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

ALL = frozenset({"fp16_overflow", "nonfinite_loss", "divergence", "zero_loss", "zero_gradients", "labels_masked"})
Inject = Callable[[str], ModuleType]


def see(inject: Inject, steps: list[dict[str, Any]], kinds: frozenset[str] = ALL, fp16: bool = False) -> Any:
    """The first fault in these steps and the step (from 1) it was seen at; None when there is none."""
    watch = inject("ql_watch").Watch(kinds, fp16)
    for number, step in enumerate(steps, 1):
        watch.losses = [torch.tensor(step.get("loss", 1.0))]
        watch.labels = torch.tensor(step.get("labels", 5))
        watch.norm = torch.tensor(step.get("norm", 1.0))
        found = watch.fault(skipped=step.get("skipped", False), scale=step.get("scale"))
        if found is not None:
            return found[0], number, found[1]
    return None


NAN = {"loss": math.nan}
SKIPPED = {"skipped": True, "scale": 2.0}


@pytest.mark.parametrize(
    ("steps", "kind", "at"),
    [
        ([{}, NAN, NAN], "nonfinite_loss", 3),
        ([{}, {"loss": math.inf}, NAN], "nonfinite_loss", 3),
        ([{}, *[SKIPPED] * 10], "fp16_overflow", 11),
        ([{}, {"skipped": True, "scale": 0.5}], "fp16_overflow", 2),
        ([{"loss": 0.0}] * 3, "zero_loss", 3),
        ([{"norm": 0.0}] * 3, "zero_gradients", 3),
        ([{"labels": 0, "loss": math.nan}] * 2, "labels_masked", 2),
        ([{"loss": 1.0}] * 5 + [{"loss": 0.5}] * 5 + [{"loss": 3.0}] * 5, "divergence", 12),
    ],
)
def test_faults(inject: Inject, steps: list[dict[str, Any]], kind: str, at: int) -> None:
    found = see(inject, steps)
    assert found is not None
    assert found[:2] == (kind, at)
    assert see(inject, steps, ALL - {kind}) is None or see(inject, steps, ALL - {kind})[0] != kind


def test_a_loss_that_is_not_finite_is_an_overflow_in_float16(inject: Inject) -> None:
    assert see(inject, [NAN, NAN], fp16=True)[0] == "fp16_overflow"


@pytest.mark.parametrize(
    "steps",
    [
        [{}] * 20,
        [NAN, {}, NAN, {}] * 5,  # single ones
        [SKIPPED] * 9 + [{}] + [SKIPPED] * 9,  # how a loss scaler finds its scale
        [{"loss": 0.0}, {"loss": 0.0}, {}] * 3,
        [{"loss": 2.0 - 0.1 * step} for step in range(15)],
        [{"loss": 0.1 + 0.09 * (step % 2)} for step in range(40)],  # noise about a low loss
        [{"loss": 1.0}] * 5 + [{"loss": 0.01}] * 5 + [{"loss": 0.9}] * 10,  # worse again, but not than at first
        [{"labels": 0, "loss": 1.0}, {}] * 3,
    ],
)
def test_no_fault(inject: Inject, steps: list[dict[str, Any]]) -> None:
    assert see(inject, steps) is None


# --- in a real Trainer ---


def tiny_model() -> Any:
    config = transformers.LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(config)


ROW = {"input_ids": [1, 2, 3, 4, 5], "attention_mask": [1] * 5, "labels": [1, 2, 3, 4, 5]}


def trainer(folder: Path, callback: Any, model: Any = None, rows: Any = None, **arguments: Any) -> Any:
    settings = {
        "output_dir": str(folder / "trainer"), "max_steps": 6, "per_device_train_batch_size": 2, "logging_steps": 1,
        "report_to": "none", "use_cpu": True, "disable_tqdm": True, "save_strategy": "steps", "save_steps": 3,
    }  # fmt: skip
    data = rows or [ROW] * 30
    return transformers.Trainer(
        model or tiny_model(),
        transformers.TrainingArguments(**{**settings, **arguments}),
        train_dataset=data,
        eval_dataset=data[:8],
        callbacks=[callback],
    )


@pytest.fixture
def callback(inject: Inject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def make(**variables: str) -> Any:
        values = {"QL_EVENTS": str(tmp_path / "events.jsonl"), "QL_WATCH": ",".join(ALL), **variables}
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        return inject("ql_telemetry").TelemetryCallback()

    return make


def test_a_model_that_returns_nan_is_stopped_with_nothing_kept(callback: Callable[..., Any], tmp_path: Path) -> None:
    model = tiny_model()
    made = trainer(tmp_path, callback(), model)
    calls = iter(range(100))

    def spoil(module: Any, args: Any, output: Any) -> Any:
        if next(calls) >= 1:
            output.loss = output.loss * float("nan")
        return output

    model.register_forward_hook(spoil)
    made.train()
    fault = next(event for event in read_events(tmp_path / "events.jsonl") if event["event"] == "fault")
    assert (fault["kind"], fault["step"], fault["evidence"]["loss"]) == ("nonfinite_loss", 3, "nan")
    assert made.state.global_step == 3
    assert not list((tmp_path / "trainer").glob("checkpoint-*"))  # step 3 was to be saved


def test_masked_labels_are_named(callback: Callable[..., Any], tmp_path: Path) -> None:
    made = trainer(tmp_path, callback(), rows=[ROW | {"labels": [-100] * 5}] * 30)
    made.train()
    faults = [event["kind"] for event in read_events(tmp_path / "events.jsonl") if event["event"] == "fault"]
    assert faults == ["labels_masked"]


def test_a_sound_training_is_left_alone_and_its_checkpoints_are_sealed(
    callback: Callable[..., Any], inject: Inject, tmp_path: Path
) -> None:
    from launcher.processes.checkpoints import fault

    made = trainer(tmp_path, callback(QL_BEAT=str(tmp_path / "beat")))
    made.train()
    assert made.state.global_step == 6
    assert not [event for event in read_events(tmp_path / "events.jsonl") if event["event"] in ("fault", "error")]
    assert [fault(tmp_path / "trainer" / f"checkpoint-{step}") for step in (3, 6)] == [None, None]
    assert (tmp_path / "beat").exists()


def test_the_trial_comes_first_and_changes_nothing(
    callback: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = {"eval_strategy": "steps", "eval_steps": 3, "load_best_model_at_end": True, "metric_for_best_model": "loss"}
    for name in ("bare", "tried"):
        (tmp_path / name).mkdir()
    bare = trainer(tmp_path / "bare", transformers.TrainerCallback(), greater_is_better=False, **best)
    bare.train()
    tried = trainer(tmp_path / "tried", callback(QL_TRIAL="1"), greater_is_better=False, **best)
    tried.train()
    events = read_events(tmp_path / "events.jsonl")
    shown = [(event["event"], event["step"]) for event in events if event["event"] in ("eval", "save")]
    assert shown == [("eval", 1), ("save", 1), ("eval", 3), ("save", 3), ("eval", 6), ("save", 6)]
    assert [event["trial"] for event in events if event["event"] == "eval"] == [True, False, False]
    assert tried.state.best_metric == bare.state.best_metric
    assert tried.state.best_global_step == bare.state.best_global_step
    ours, theirs = tried.model.state_dict(), bare.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_weights_that_a_checkpoint_rounded_come_back_as_they_were(inject: Inject, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    checkpoint, model = inject("ql_checkpoint"), tiny_model()
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    save_file({name: weight.clone() for name, weight in weights.items()}, tmp_path / checkpoint.STORED)
    checkpoint.keep_exact(model, tmp_path)
    assert not (tmp_path / checkpoint.EXACT).exists()  # nothing was rounded
    rounded = {name: weight.bfloat16() for name, weight in weights.items()}
    save_file(rounded, tmp_path / checkpoint.STORED)
    checkpoint.keep_exact(model, tmp_path)
    before = {name: weight.clone() for name, weight in weights.items()}
    model.load_state_dict({name: weight.float() for name, weight in rounded.items()}, strict=False)
    assert not all(torch.equal(before[name], weight) for name, weight in model.named_parameters())
    checkpoint.restore_exact(model, tmp_path)
    assert all(torch.equal(before[name], weight) for name, weight in model.named_parameters())
    assert load_file(tmp_path / checkpoint.EXACT).keys() == weights.keys()
    checkpoint.restore_exact(model, tmp_path / "elsewhere")


def test_no_trial_after_a_resume(callback: Callable[..., Any], tmp_path: Path) -> None:
    trainer(tmp_path, callback(), max_steps=3).train()
    trainer(tmp_path, callback(QL_TRIAL="1")).train(resume_from_checkpoint=str(tmp_path / "trainer" / "checkpoint-3"))
    saves = [event["step"] for event in read_events(tmp_path / "events.jsonl") if event["event"] == "save"]
    assert saves == [3, 6]


def test_a_resume_follows_a_lower_learning_rate_once(callback: Callable[..., Any], tmp_path: Path) -> None:
    trainer(tmp_path, callback(), learning_rate=1e-3, max_steps=6, save_steps=2).train()

    def rates(**variables: str) -> dict[int, float]:
        (tmp_path / "events.jsonl").unlink(missing_ok=True)
        resumed = trainer(tmp_path, callback(**variables), learning_rate=5e-4, save_steps=2)
        resumed.train(resume_from_checkpoint=str(tmp_path / "trainer" / "checkpoint-2"))
        logs = [event for event in read_events(tmp_path / "events.jsonl") if event["event"] == "log"]
        return {event["step"]: event["learning_rate"] for event in logs}

    assert rates(QL_LR_WAS="0.001") == pytest.approx({step: 5e-4 * (6 - step + 1) / 6 for step in (3, 4, 5, 6)})
    resumed = trainer(tmp_path, callback(QL_LR_WAS="0.001"), learning_rate=5e-4)
    resumed.train(resume_from_checkpoint=str(tmp_path / "trainer" / "checkpoint-4"))  # written with the new rate
    last = [event for event in read_events(tmp_path / "events.jsonl") if event["event"] == "log"][-1]
    assert last["learning_rate"] == pytest.approx(5e-4 / 6)


def test_an_evaluation_that_does_not_fit_is_tried_with_half_its_batch(
    callback: Callable[..., Any], inject: Inject, tmp_path: Path
) -> None:
    rescue = inject("ql_rescue")
    model = tiny_model()

    def full(module: Any, args: Any, kwargs: Any) -> None:
        if not module.training and kwargs["input_ids"].shape[0] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    model.register_forward_pre_hook(full, with_kwargs=True)
    made = trainer(tmp_path, callback(), model, per_device_eval_batch_size=8)
    events = inject("ql_events").EventLog(str(tmp_path / "events.jsonl"))
    evaluate = rescue.retrying(transformers.Trainer.evaluate, events)
    assert math.isfinite(evaluate(made)["eval_loss"])
    assert made.args.per_device_eval_batch_size == 2
    sizes = [(e["before"], e["after"]) for e in read_events(tmp_path / "events.jsonl") if e["event"] == "eval_batch"]
    assert sizes == [(8, 4), (4, 2)]
    model.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory")))
    with pytest.raises(torch.OutOfMemoryError):
        evaluate(made)
    assert made.args.per_device_eval_batch_size == 1


def test_errors_of_another_kind_are_not_retried(inject: Inject) -> None:
    rescue, calls = inject("ql_rescue"), []

    def evaluate(self: Any) -> None:
        calls.append(1)
        raise RuntimeError("shape mismatch")

    made = SimpleNamespace(args=SimpleNamespace(per_device_eval_batch_size=8))
    with pytest.raises(RuntimeError, match="shape"):
        rescue.retrying(evaluate, None)(made)
    assert len(calls) == 1


def test_where_an_exception_came_from(inject: Inject) -> None:
    rescue = inject("ql_rescue")

    def raised(name: str) -> Any:
        space: dict[str, Any] = {}
        exec(f"def {name}(): raise ValueError", space)
        try:
            space[name]()
        except ValueError as error:
            return error.__traceback__

    expected = {"evaluation_loop": "eval", "training_step": "train", "_save_checkpoint": "save", "load_model": "setup"}
    for name, phase in expected.items():
        assert rescue.phase(raised(name)) == phase
    assert rescue.ran_out(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"))
    assert not rescue.ran_out(ValueError("out of memory"))
