"""The bounds of exactness can tell: each known defect of other merges breaks them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def llama(make_base: Callable[..., Any], train: Callable[..., Any]) -> Any:
    return train(make_base())


def figures(trained: Any, request: pytest.FixtureRequest, **change: Any) -> Any:
    """Fidelity of a merge that was made with a changed request."""
    reference, merge, load_merged, compare = (
        request.getfixturevalue(name) for name in ("reference", "merge", "load_merged", "compare")
    )
    folder, _ = merge(trained, **change)
    return compare(reference(trained).logits, load_merged(folder).logits)


def test_without_a_defect_it_is_exact(llama: Any, request: pytest.FixtureRequest) -> None:
    assert figures(llama, request).within("float16")


@pytest.mark.parametrize("module", ["model.embed_tokens", "lm_head"])
def test_embeddings_or_head_rounded_through_nf4(llama: Any, request: pytest.FixtureRequest, module: str) -> None:
    record = {**llama.record, "quantized_modules": [*llama.record["quantized_modules"], module]}
    assert not figures(llama, request, record=record).within("float16")


def test_no_double_quantisation(llama: Any, request: pytest.FixtureRequest) -> None:
    assert not figures(llama, request, record={**llama.record, "double_quant": False}).within("float16")


@pytest.mark.parametrize("block", [32, 128])
def test_wrong_block_size(llama: Any, request: pytest.FixtureRequest, block: int) -> None:
    assert not figures(llama, request, record={**llama.record, "block_size": block}).within("float16")


def test_delta_scaled_by_95_percent(
    llama: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    from launcher.jobs.merge.adapter import LowRank

    real = LowRank.delta
    monkeypatch.setattr(LowRank, "delta", lambda self, first, last, out=None: real(self, first, last, out).mul_(0.95))
    assert not figures(llama, request).within("float16")


def test_bfloat16_where_float16_was_asked(llama: Any, request: pytest.FixtureRequest) -> None:
    assert not figures(llama, request, dtype="bfloat16").within("float16")
