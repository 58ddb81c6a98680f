"""The callback inside a real Trainer: what it writes, that it can stop a run, and that it can never end one."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

INJECT = Path(__file__).resolve().parents[2] / "launcher" / "inject"


@pytest.fixture(scope="module")
def telemetry() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(INJECT))
        import ql_telemetry

        yield ql_telemetry
    for name in ("ql_telemetry", "ql_quantization"):
        sys.modules.pop(name, None)


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def tiny_model() -> Any:
    config = transformers.LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(config)


def train(folder: Path, callback: Any, add: Any = None, held_out: bool = False, **arguments: Any) -> Any:
    """Five steps of a real Trainer on rows of 3 and 5 tokens, padded to 5; ``held_out``: with two rows to evaluate."""
    rows = [{"input_ids": [1, 2, 3, 4, 5], "attention_mask": [1] * 5, "labels": [1, 2, 3, 4, 5]}]
    rows += [{"input_ids": [1, 2, 3, 0, 0], "attention_mask": [1, 1, 1, 0, 0], "labels": [1, 2, 3, -100, -100]}]
    settings = transformers.TrainingArguments(
        output_dir=str(folder / "trainer"),
        max_steps=5,
        per_device_train_batch_size=2,
        logging_steps=1,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        **arguments,
    )
    evaluated = rows if held_out else None
    trainer = transformers.Trainer(
        tiny_model(), settings, train_dataset=rows * 10, eval_dataset=evaluated, callbacks=[callback]
    )
    if add is not None:
        trainer.add_callback(add)
    trainer.train()
    return trainer


@pytest.fixture
def callback(telemetry: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("QL_EVENTS", str(tmp_path / "events.jsonl"))
    monkeypatch.setenv("QL_STOP", str(tmp_path / "stop"))
    return telemetry.TelemetryCallback()


def test_a_run_from_begin_to_end(callback: Any, tmp_path: Path) -> None:
    train(tmp_path, callback, save_steps=5)
    written = events(tmp_path / "events.jsonl")
    assert [event["event"] for event in written] == ["train_begin", *["log"] * 5, "save", "train_end"]
    begin, *logs = written[:6]
    assert begin["max_steps"] == 5
    assert begin["versions"]["torch"]
    assert [event["step"] for event in logs] == [1, 2, 3, 4, 5]
    assert {event["tokens"] for event in logs} <= {6, 8, 10}  # real tokens of two rows, not 10 with their padding
    assert sum(event["tokens"] for event in logs) < 5 * 10
    assert written[-1]["tokens"] == sum(event["tokens"] for event in logs)
    assert written[-1]["stopped"] is False


class FakeCuda:
    """torch.cuda as the telemetry uses it: GiB in use and their peaks, which can be reset."""

    def __init__(self) -> None:
        self.used = self.peak = 4

    def hold(self, gib: int) -> None:
        """Memory that is taken and given back."""
        self.peak = max(self.peak, gib)

    def reset_peak_memory_stats(self) -> None:
        self.peak = self.used

    def is_available(self) -> bool:
        return True

    def max_memory_allocated(self) -> int:
        return self.peak * 2**30

    def max_memory_reserved(self) -> int:
        return (self.peak + 1) * 2**30

    def mem_get_info(self) -> tuple[int, int]:
        return 60 * 2**30, 80 * 2**30


def test_the_peak_is_the_runs_though_the_trainer_resets_it_at_each_log(
    telemetry: ModuleType, callback: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Axolotl's trainer does, in log(), before the callbacks hear of it."""
    cuda, real = FakeCuda(), transformers.Trainer
    log, step, predict = real.log, real.training_step, real.prediction_step

    def reset_and_log(*given: Any, **named: Any) -> Any:
        cuda.reset_peak_memory_stats()
        return log(*given, **named)

    def training_step(self: Any, *given: Any, **named: Any) -> Any:
        cuda.hold(11 - self.state.global_step)  # the first step is the dearest
        return step(self, *given, **named)

    def prediction_step(*given: Any, **named: Any) -> Any:
        cuda.hold(20)
        return predict(*given, **named)

    monkeypatch.setattr(telemetry, "torch", SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(real, "log", reset_and_log)
    monkeypatch.setattr(real, "training_step", training_step)
    monkeypatch.setattr(real, "prediction_step", prediction_step)
    cuda.hold(30)  # while the base is loaded: not of the training
    train(tmp_path, callback, held_out=True, eval_strategy="steps", eval_steps=3, save_strategy="no")
    written = events(tmp_path / "events.jsonl")
    logs = [event for event in written if event["event"] == "log"]
    assert [event["peak_allocated_gib"] for event in logs] == [11, 11, 11, 20, 20]
    assert [event["peak_memory_gib"] for event in logs] == [12, 12, 12, 21, 21]
    assert (written[-1]["event"], written[-1]["peak_allocated_gib"]) == ("train_end", 20)


def test_it_changes_nothing(callback: Any, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with_it = train(tmp_path / "a", callback).model.state_dict()
    without = train(tmp_path / "b", transformers.TrainerCallback()).model.state_dict()
    assert all(torch.equal(with_it[name], without[name]) for name in without)


def test_a_stop_file_ends_the_run_with_a_checkpoint(callback: Any, tmp_path: Path) -> None:
    (tmp_path / "stop").touch()
    trainer = train(tmp_path, callback, save_strategy="no")
    assert trainer.state.global_step == 1
    assert (tmp_path / "trainer" / "checkpoint-1").is_dir()
    kinds = [event["event"] for event in events(tmp_path / "events.jsonl")]
    assert kinds.count("stop") == 1
    end = events(tmp_path / "events.jsonl")[-1]
    assert (end["stopped"], end["ended_early"]) == (True, False)


def test_the_end_that_another_callback_asks_for_is_told_apart(callback: Any, tmp_path: Path) -> None:
    """As transformers' EarlyStoppingCallback ends a run, through the same control."""

    class Early(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = state.global_step == 2

    trainer = train(tmp_path, callback, add=Early(), save_strategy="no")
    assert trainer.state.global_step == 2
    end = events(tmp_path / "events.jsonl")[-1]
    assert (end["event"], end["step"], end["max_steps"]) == ("train_end", 2, 5)
    assert (end["stopped"], end["ended_early"]) == (False, True)


def test_its_own_failures_are_recorded_and_end_nothing(
    telemetry: ModuleType, callback: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no idea")

    monkeypatch.setattr(telemetry, "describe_quantization", fail)
    monkeypatch.setattr(telemetry, "peak_memory", fail)
    assert train(tmp_path, callback).state.global_step == 5
    errors = [event for event in events(tmp_path / "events.jsonl") if event["event"] == "error"]
    assert {event["where"] for event in errors} == {"on_train_begin", "on_log", "on_train_end"}
    assert {event["message"] for event in errors} == {"RuntimeError: no idea"}


def test_a_place_that_cannot_be_written_ends_nothing(
    telemetry: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QL_EVENTS", str(tmp_path / "no" / "such" / "folder" / "events.jsonl"))
    assert train(tmp_path, telemetry.TelemetryCallback()).state.global_step == 5


def test_without_the_variables_nothing_is_written(
    telemetry: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QL_EVENTS", raising=False)
    monkeypatch.delenv("QL_STOP", raising=False)
    assert train(tmp_path, telemetry.TelemetryCallback(), save_strategy="no").state.global_step == 5
    assert [path.name for path in tmp_path.iterdir()] == ["trainer"]


def test_numbers_that_are_not_finite_are_named(callback: Any, telemetry: ModuleType, tmp_path: Path) -> None:
    log = telemetry.EventLog(str(tmp_path / "events.jsonl"))
    log.write("log", loss=math.nan, grad_norm=math.inf, learning_rate=0.1)
    (event,) = events(tmp_path / "events.jsonl")
    assert (event["loss"], event["grad_norm"], event["learning_rate"]) == (None, None, 0.1)
    assert event["nonfinite"] == ["loss", "grad_norm"]


def test_the_loss_scale_is_read_where_there_is_one(callback: Any, tmp_path: Path) -> None:
    state = SimpleNamespace(global_step=3, epoch=0.5)
    optimizer = SimpleNamespace(scaler=SimpleNamespace(get_scale=lambda: 65536.0), step_was_skipped=True)
    callback.on_step_begin(None, state, None)
    callback.on_step_end(None, state, SimpleNamespace(), optimizer=optimizer)
    callback.on_log(None, state, None, logs={"loss": 1.0, "grad_norm": 2.0}, optimizer=optimizer)
    (event,) = events(tmp_path / "events.jsonl")
    assert (event["loss_scale"], event["skipped_steps"]) == (65536.0, 1)


# --- what was quantised ---


def quantised(quant_type: str = "nf4", double: bool = True, dtype: Any = None) -> Any:
    """A tiny Llama with NF4 linears and an adapter, as QLoRA trains it."""
    bitsandbytes = pytest.importorskip("bitsandbytes")
    peft = pytest.importorskip("peft")
    model = tiny_model().to(dtype or torch.float32)
    for name, module in list(model.named_modules()):
        if name.endswith(("q_proj", "v_proj")):
            linear = bitsandbytes.nn.Linear4bit(
                module.in_features,
                module.out_features,
                bias=False,
                compute_dtype=torch.float32,
                compress_statistics=double,
                quant_type=quant_type,
            )
            linear.load_state_dict(module.state_dict())
            linear.weight = bitsandbytes.nn.Params4bit(
                module.weight.data, requires_grad=False, quant_type=quant_type, compress_statistics=double
            )
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, linear.to("cpu"))
    return peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj", "o_proj"]))


ARGUMENTS = SimpleNamespace(fp16=False, bf16=True)


@pytest.mark.parametrize(("quant_type", "double"), [("nf4", True), ("fp4", False)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_record_is_read_off_the_modules(telemetry: ModuleType, quant_type: str, double: bool, dtype: Any) -> None:
    record = telemetry.describe_quantization(
        quantised(quant_type, double, dtype), ARGUMENTS, {"bitsandbytes": "9"}, "one"
    )
    assert (record["quant_type"], record["double_quant"]) == (quant_type, double)
    assert record["load_dtype"] == str(dtype).removeprefix("torch.")
    assert (record["compute_dtype"], record["storage_dtype"], record["block_size"]) == ("float32", "uint8", 64)
    assert record["quantized_modules"] == ["model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.v_proj"]
    skipped = ["mlp.down_proj", "mlp.gate_proj", "mlp.up_proj", "self_attn.k_proj", "self_attn.o_proj"]
    assert record["skipped_modules"] == ["lm_head", *(f"model.layers.0.{name}" for name in skipped)]
    assert (record["method"], record["bitsandbytes"]) == ("qlora", "9")


def test_without_quantisation_the_record_says_lora(telemetry: ModuleType) -> None:
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(tiny_model().half(), peft.LoraConfig(r=2, target_modules=["q_proj"]))
    record = telemetry.describe_quantization(model, ARGUMENTS, {}, "one")
    assert (record["method"], record["quant_type"], record["quantized_modules"]) == ("lora", None, [])
    assert (record["compute_dtype"], record["load_dtype"]) == ("bfloat16", "float16")


def test_an_8_bit_base_is_recorded_as_one(telemetry: ModuleType) -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes")
    peft = pytest.importorskip("peft")
    model = tiny_model().half()
    attention = model.get_submodule("model.layers.0.self_attn")
    linear = bitsandbytes.nn.Linear8bitLt(attention.q_proj.in_features, attention.q_proj.out_features, bias=False)
    attention.q_proj = linear
    model = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["o_proj"]))
    record = telemetry.describe_quantization(model, ARGUMENTS, {}, "one")
    assert (record["method"], record["quant_type"], record["double_quant"]) == ("qlora", "int8", False)
    assert (record["load_dtype"], record["compute_dtype"]) == ("float16", "float16")
    assert record["quantized_modules"] == ["model.layers.0.self_attn.q_proj"]
    assert "model.layers.0.self_attn.q_proj" not in record["skipped_modules"]


def test_modules_quantised_in_two_ways_are_refused(telemetry: ModuleType) -> None:
    model = quantised()
    other = quantised(quant_type="fp4")
    layer = model.get_submodule("base_model.model.model.layers.0.self_attn")
    layer.v_proj = other.get_submodule("base_model.model.model.layers.0.self_attn.v_proj")
    with pytest.raises(ValueError, match="2 different ways"):
        telemetry.describe_quantization(model, ARGUMENTS, {}, "one")


@pytest.mark.parametrize("what", ["one tensor", "several"])
def test_what_only_the_trainer_can_unpack_is_refused(telemetry: ModuleType, what: str) -> None:
    """Experts in 4 bit, or linear layers by another library: bytes, behind a parametrization that unpacks them."""
    parametrize = torch.nn.utils.parametrize

    class Unpack(torch.nn.Module):
        def forward(self, *packed: Any) -> Any:
            return packed[0].float()

        def right_inverse(self, value: Any) -> Any:
            return value if what == "one tensor" else (value, value)

    model = tiny_model()
    layer = model.get_submodule("model.layers.0.self_attn.q_proj")
    layer.weight = torch.nn.Parameter(torch.zeros(layer.weight.shape, dtype=torch.uint8), requires_grad=False)
    parametrize.register_parametrization(layer, "weight", Unpack(), unsafe=True)
    with pytest.raises(ValueError, match=r"1 modules in a way that a merge cannot repeat.*q_proj"):
        telemetry.describe_quantization(model, ARGUMENTS, {}, "one")


def test_a_parametrization_of_numbers_is_no_quantisation(telemetry: ModuleType) -> None:
    model = tiny_model().half()
    torch.nn.utils.parametrizations.weight_norm(model.get_submodule("model.layers.0.self_attn.q_proj"))
    assert telemetry.describe_quantization(model, ARGUMENTS, {}, "one")["method"] == "lora"


def test_an_evaluation_takes_no_gradient_away(telemetry: ModuleType) -> None:
    """Where bitsandbytes repacks weights for a CPU's bfloat16 kernel, no gradient passes through them afterwards."""
    bitsandbytes = pytest.importorskip("bitsandbytes")
    linear = bitsandbytes.nn.Linear4bit(64, 64, bias=False, compute_dtype=torch.float32, quant_type="nf4")
    linear.weight = bitsandbytes.nn.Params4bit(torch.randn(64, 64), requires_grad=False, quant_type="nf4")
    model = torch.nn.Sequential(linear).to("cpu")
    assert telemetry.keep_trainable(model) == 1
    rows = torch.randn(3, 64, requires_grad=True)

    def gradient() -> Any:
        rows.grad = None
        model.train()(rows).sum().backward()
        return rows.grad

    before = gradient()
    with torch.no_grad():
        model.eval()(rows)
    assert torch.equal(gradient(), before)


def test_a_run_on_the_cpu_keeps_its_weights_trainable(
    telemetry: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QL_EVENTS", str(tmp_path / "events.jsonl"))
    model = quantised()
    callback = telemetry.TelemetryCallback()
    arguments = SimpleNamespace(num_train_epochs=1, fp16=False, bf16=False)
    state = SimpleNamespace(global_step=0, max_steps=1)
    callback.on_train_begin(arguments, state, SimpleNamespace(), model=model)
    known = [module for module in model.modules() if hasattr(module, "support_avx512bf16_for_cpu")]
    assert len(known) == 2
    assert not any(module.support_avx512bf16_for_cpu for module in known)


def test_the_folder_needs_nothing_of_ours() -> None:
    for path in INJECT.glob("*.py"):
        assert not re.search(r"^\s*(from|import) launcher", path.read_text(encoding="utf-8"), re.MULTILINE)
