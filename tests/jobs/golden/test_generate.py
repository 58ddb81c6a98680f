"""Generation on the real tiny Llama in NF4, against transformers' own `generate`, one prompt at a time, unpadded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
pytest.importorskip("bitsandbytes")

from launcher.errors import RunFailed  # noqa: E402
from launcher.jobs.chat import Conversation, converse  # noqa: E402
from launcher.jobs.golden import generate, models, prompts  # noqa: E402
from launcher.records.jobs import GOLDEN  # noqa: E402

Request = Callable[..., dict[str, Any]]


def ignore(message: dict[str, Any]) -> None: ...


def outputs(request: dict[str, Any], subject: str) -> dict[str, str]:
    records = generate.read_lines(Path(request["outputs"][subject]))
    return {name: record["output"] for name, record in records.items()}


@pytest.fixture(scope="module")
def reference(tiny: Path, adapter: Path, record: dict[str, Any]) -> Any:
    """Base in NF4 with the adapter, put together without ql's code."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    base = AutoModelForCausalLM.from_pretrained(tiny, quantization_config=quantization, dtype=torch.bfloat16)
    for parameter in base.parameters():
        if parameter.dtype == torch.bfloat16:
            parameter.data = parameter.data.float()
    for module in base.modules():  # else computed in bfloat16 on some CPUs, as training never did
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return peft.PeftModel.from_pretrained(base, adapter).eval()


def expected(model: Any, request: dict[str, Any]) -> dict[str, str]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(request["tokenizer"])
    answers = {}
    for prompt in request["prompts"]:
        text = f"<s><|im_start|>user\n{prompt['messages'][0]['content']}<|im_end|>\n<|im_start|>assistant\n"
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")
        out = model.generate(
            **ids,
            do_sample=False,
            max_new_tokens=request["max_new_tokens"],
            eos_token_id=[tokenizer.convert_tokens_to_ids(token) for token in ("<|im_end|>", "</s>")],
            pad_token_id=tokenizer.pad_token_id,
        )
        answers[prompt["id"]] = tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
    return answers


def test_base_and_adapter_answer_as_greedy_generate_does(request_for: Request, reference: Any) -> None:
    request = request_for("base", "adapter")
    messages: list[dict[str, Any]] = []
    result = GOLDEN.do(request, messages.append)
    with reference.disable_adapter():
        base = expected(reference, request)
    adapter = expected(reference, request)
    assert base != adapter
    assert outputs(request, "base") == base
    assert outputs(request, "adapter") == adapter
    assert result["subjects"]["base"]["outputs"] == 6
    assert [message["done"] for message in messages if message["text"] == "adapter"] == [4, 6]


def test_merged_answers_for_itself(request_for: Request, tiny: Path) -> None:
    from transformers import AutoModelForCausalLM

    request = request_for("merged", rows=2)
    GOLDEN.do(request, ignore)
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()
    assert outputs(request, "merged") == expected(model, request)


def test_answers_that_are_there_are_not_generated_again(request_for: Request) -> None:
    request = request_for("base")
    GOLDEN.do(request, ignore)
    path = Path(request["outputs"]["base"])
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    marked = [{**line, "output": "kept"} for line in lines[:4]]
    path.write_text("".join(json.dumps(line) + "\n" for line in marked) + '{"id": "ticket-0', "utf-8")
    result = GOLDEN.do(request, ignore)
    assert sorted(outputs(request, "base").values()).count("kept") == 4
    assert result["subjects"]["base"]["outputs"] == len(lines)


def test_answers_of_another_model_or_limit_are_thrown_away(request_for: Request, tmp_path: Path) -> None:
    other = tmp_path / "other.jinja"
    other.write_text("{{ messages[0].content }}", "utf-8")
    keys = []
    for change in ({}, {"max_new_tokens": 5}, {"compute_dtype": "bfloat16"}, {"chat_template": str(other)}):
        request = request_for("base", rows=1, **change)
        GOLDEN.do(request, ignore)
        keys += [record["key"] for record in generate.read_lines(Path(request["outputs"]["base"])).values()]
    assert len(set(keys)) == len(keys) == 4


def test_an_answer_may_be_as_long_as_the_longest_right_one_and_some_more(request_for: Request, tmp_path: Path) -> None:
    rambling = tmp_path / "rambling.jinja"
    rambling.write_text("{{ messages[0].content[:9] }}", "utf-8")
    request = request_for("base", rows=1, max_new_tokens=None, answers=["billing"], chat_template=str(rambling))
    result = GOLDEN.do(request, ignore)
    assert result["subjects"]["base"]["limit"] == prompts.ROOM_TOKENS + 1
    assert result["subjects"]["base"]["unfinished"] == 1


def test_other_modules_in_4_bit_than_in_training_are_refused(request_for: Request, record: dict[str, Any]) -> None:
    request = request_for("base", rows=1, quantization={**record, "skipped_modules": ["lm_head", "q_proj"]})
    with pytest.raises(RunFailed, match="not quantised as in training: 24 modules in 4 bit here, 28 there"):
        GOLDEN.do(request, ignore)


def test_an_adapter_of_another_base_is_refused(request_for: Request, adapter: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    other = tmp_path / "other"
    other.mkdir()
    for path in adapter.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    tensors = load_file(other / "adapter_model.safetensors")
    save_file(
        {name: torch.cat([tensor] * 2, -1) for name, tensor in tensors.items()}, other / "adapter_model.safetensors"
    )
    with pytest.raises(RunFailed, match="does not fit the base"):
        GOLDEN.do(request_for("adapter", rows=1, adapter=str(other)), ignore)


def test_prompts_begin_the_training_row_that_asks_the_same(adapter: Path, template: Path) -> None:
    tokenizer = prompts.load_tokenizer(str(adapter))
    text = template.read_text("utf-8")
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Which queue?"}]
    row = tokenizer.apply_chat_template([*turns, {"role": "assistant", "content": "sales"}], chat_template=text)
    ids = prompts.prompt_ids({"messages": turns}, tokenizer, text)
    assert row["input_ids"][: len(ids)] == ids
    assert ids.count(tokenizer.bos_token_id) == 1
    assert prompts.prompt_ids({"text": "Ticket:"}, tokenizer, None) == tokenizer("Ticket:")["input_ids"]
    assert prompts.end_of_turn(tokenizer, text) == tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_a_prompt_that_the_template_refuses_is_named(request_for: Request) -> None:
    request = request_for("base", rows=1)
    request["prompts"][0]["messages"] = [{"role": "narrator", "content": "x"}]
    with pytest.raises(RunFailed, match="ticket-001"):
        GOLDEN.do(request, ignore)


def test_weights_go_where_they_fit() -> None:
    gib = models.GIB
    free = {"cuda": 10 * gib, "cpu": 20 * gib}
    assert models.place(8 * gib, "cuda", free) == {"device_map": {"": 0}}
    assert models.place(20 * gib, "cuda", free)["device_map"] == "auto"
    assert models.place(8 * gib, "cpu", {"cpu": 20 * gib}) == {"device_map": {"": "cpu"}}
    with pytest.raises(
        models.DoesNotFit, match=r"needs 30.0 GiB.*10.0 GiB free on the cuda.*20.0 GiB free on the host"
    ):
        models.place(30 * gib, "cuda", free)


def test_a_merged_model_that_fits_nowhere_is_skipped(request_for: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "checkpoint_bytes", lambda folder: 2**60)
    result = GOLDEN.do(request_for("merged", rows=1), ignore)
    assert "GiB free on the host" in result["subjects"]["merged"]["skipped"]


def test_a_containers_limit_counts(tmp_path: Path) -> None:
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 100 kB\nMemAvailable:   80 kB\n")
    assert models._free_host_memory(tmp_path) == 80 * 1024
    for name, text in {"memory.max": "60000", "memory.current": "50000", "memory.stat": "inactive_file 7000\n"}.items():
        (group / name).write_text(text)
    assert models._free_host_memory(tmp_path) == 17000


def test_chat_remembers_each_models_own_answers(request_for: Request, reference: Any, template: Path) -> None:
    tokenizer = prompts.load_tokenizer(request_for("base")["tokenizer"])
    conversation = Conversation(reference, tokenizer, template.read_text("utf-8"), limit=8)
    heard: list[dict[str, Any]] = []
    lines = ['{"text": "Say sales."}', '{"text": "Say billing."}', '{"reset": true}', '{"text": "Say sales."}']
    assert converse(conversation, lines, heard.append) == 3
    assert heard[0] == heard[2]
    assert heard[0]["base"]["output"] == "sales"
    assert [turn["role"] for turn in conversation.turns["adapter"]] == ["user", "assistant"]


@pytest.fixture
def small_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory for two prompts at once: the real generation raises CUDA's own error for more."""
    real = generate.greedy

    def greedy(model: Any, tokenizer: Any, batch: Any, *rest: Any) -> list[dict[str, Any]]:
        if len(batch) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return real(model, tokenizer, batch, *rest)

    monkeypatch.setattr(generate, "greedy", greedy)


def test_a_batch_that_does_not_fit_is_halved_and_told(request_for: Request, small_card: None) -> None:
    request = request_for("base")
    said: list[dict[str, Any]] = []
    GOLDEN.do(request, said.append)
    assert len(outputs(request, "base")) == 6
    assert [event for event in said if event["event"] == "repair"] == [
        {"event": "repair", "kind": "oom_eval", "before": 4, "after": 2}
    ]


def test_with_the_repair_off_it_fails_and_keeps_what_is_answered(request_for: Request, small_card: None) -> None:
    request = request_for("base", shrink=False)
    said: list[dict[str, Any]] = []
    with pytest.raises(RunFailed, match="out of memory answering 4 golden prompts at once") as caught:
        GOLDEN.do(request, said.append)
    assert "oom-eval" in str(caught.value)
    assert [event["event"] for event in said] == []
    GOLDEN.do({**request, "batch_size": 2}, ignore)
    assert len(outputs(request, "base")) == 6


def test_a_thought_has_room_before_the_answer(adapter: Path) -> None:
    tokenizer = prompts.load_tokenizer(str(adapter))
    short = prompts.answer_limit(["sales"], tokenizer)
    assert prompts.answer_limit(["sales"], tokenizer, 400) >= short + 400
