"""verify: the merged model against the trained one, one layer at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import RunFailed
from launcher.jobs.merge import verify
from launcher.records.jobs import VERIFY

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "llama": ({}, {}),
    "dora": ({}, {"use_dora": True}),
    "qwen2 tied, LoRA on the embedding": (
        {"family": "qwen2-tied"},
        {"target_modules": ["q_proj", "embed_tokens"]},
    ),
    "gemma2": ({"family": "gemma2"}, {}),
    "mixtral": ({"family": "mixtral"}, {}),
}


def prompts() -> list[list[int]]:
    return [[(7 * i + k) % 500 for k in range(40 + i)] for i in range(8)]


def request(trained: Any, merged: Path, **extra: Any) -> dict[str, Any]:
    merge = {
        "base": str(trained.base),
        "adapter": str(trained.adapter),
        "out": str(merged),
        "record": trained.record,
        "device": "cpu",
    }
    return {"merge": merge, "prompts": prompts(), **extra}


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_peft(
    case: str,
    make_base: Callable[..., Any],
    train: Callable[..., Any],
    merge: Callable[..., Any],
    load_as_trained: Callable[..., Any],
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base, training = CASES[case]
    trained = train(make_base(**base), **training)
    merged, _ = merge(trained)
    messages: list[dict[str, Any]] = []
    found = VERIFY.do(request(trained, merged), messages.append)

    model = PeftModel.from_pretrained(load_as_trained(trained.base, trained.record), trained.adapter).float().eval()
    stored = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32).eval()
    with torch.no_grad():
        wanted = torch.cat([model(torch.tensor([row])).logits[0] for row in prompts()])
        logits = torch.cat([stored(torch.tensor([row])).logits[0] for row in prompts()])
    peft = verify.compare(wanted, logits)
    assert found["tokens"] == len(wanted)
    assert found["relative_l2"] == pytest.approx(peft.relative_l2, rel=0.02)
    assert found["kl"] == pytest.approx(peft.kl, rel=0.05, abs=1e-9)
    assert found["top1_agreement"] == pytest.approx(peft.top1_agreement, abs=0.01)
    assert messages[-1]["fraction"] == 1.0


def test_compares_both_bases(
    make_base: Callable[..., Any], train: Callable[..., Any], merge: Callable[..., Any]
) -> None:
    trained = train(make_base())
    merged, _ = merge(trained)
    found = VERIFY.do(request(trained, merged, both=True), lambda message: None)
    assert found["other"]["base"] == "original"
    assert found["other"]["relative_l2"] > 20 * found["relative_l2"]  # the quantisation error is what training saw

    original, _ = merge(trained, name="original", base_mode="original")
    again = VERIFY.do(request(trained, original), lambda message: None)
    assert again["relative_l2"] == pytest.approx(found["other"]["relative_l2"], rel=1e-3)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_no_agreement(value: float) -> None:
    import torch

    good = torch.randn(5, 9)
    bad = good.clone()
    bad[2, 3] = value
    assert verify.compare(good, good).relative_l2 == 0.0
    assert verify.compare(torch.zeros(5, 9), torch.zeros(5, 9)).relative_l2 == 0.0
    for wanted, found, whose in ((bad, good, "trained"), (good, bad, "merged")):
        with pytest.raises(RunFailed, match=rf"the {whose} model's logits are not finite at 1 of 5 tokens"):
            verify.compare(wanted, found)


def test_texts_and_chat_rows_become_tokens(
    make_base: Callable[..., Any], train: Callable[..., Any], merge: Callable[..., Any], tmp_path: Path
) -> None:
    template = tmp_path / "template.jinja"
    template.write_text("{% for m in messages %}{{ m['content'] }} {% endfor %}<|im_end|>")
    trained = train(make_base())
    merged, _ = merge(trained, chat_template=str(template))
    rows = [{"messages": [{"role": "user", "content": "hello world"}]}, {"text": "hello"}, "world hello"]
    ids, mask = verify.tokenise(rows, str(merged), 512)
    assert ids.tolist() == [[5, 6, 3], [5, 0, 0], [6, 5, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
