"""Our NF4 gives bitsandbytes' bits on a CPU."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
bnb = pytest.importorskip("bitsandbytes.functional")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from launcher.jobs.merge import library, nf4  # noqa: E402


def round_trip(weights: torch.Tensor, block: int, nested: bool) -> torch.Tensor:
    flat = weights.flatten()
    absmax = nf4.block_absmax(flat, block)
    scale = nf4.nested_absmax(absmax) if nested else absmax
    return nf4.round_trip(flat, absmax, scale, block, nf4.Scratch(flat.numel())).to(weights.dtype).view_as(weights)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.integers(2, 90),  # of a single packed byte the library returns the transpose
    columns=st.integers(1, 150).map(lambda half: 2 * half),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    block=st.sampled_from([32, 64, 128, 256, 4096]),
    nested=st.booleans(),
    magnitude=st.floats(-4, 2),
    seed=st.integers(0, 2**31),
    kind=st.sampled_from(["normal", "some zero rows", "heavy tail", "few values"]),
)
def test_every_bit_is_the_librarys(
    rows: int, columns: int, dtype: torch.dtype, block: int, nested: bool, magnitude: float, seed: int, kind: str
) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(rows, columns, generator=generator)
    if kind == "some zero rows":
        weights[: rows // 2] = 0
    elif kind == "heavy tail":
        weights = weights.pow(5).clamp(-300, 300)
    elif kind == "few values":
        weights = weights.round()
    weights = (weights * 10**magnitude).to(dtype)
    row = weights.view(1, -1)  # with AVX512 the library dequantises rows that do not end with a block wrongly
    codes, state = bnb.quantize_4bit(row, blocksize=block, quant_type="nf4", compress_statistics=nested)
    assert torch.equal(round_trip(weights, block, nested), bnb.dequantize_4bit(codes, state).view_as(weights))


def test_values_on_and_beside_every_midpoint() -> None:
    values = torch.tensor(nf4.NF4_VALUES)
    midpoints = (values[:-1] + values[1:]) / 2
    edges = torch.cat([torch.nextafter(midpoints, torch.tensor(side)) for side in (-2.0, 2.0)] + [midpoints, values])
    weights = torch.ones(len(edges), 64)
    weights[:, 0] = edges  # absmax stays 1, so each number is compared as it is
    codes, state = bnb.quantize_4bit(weights, blocksize=64, quant_type="nf4")
    assert torch.equal(round_trip(weights, 64, nested=False), bnb.dequantize_4bit(codes, state))


def test_the_maps_are_the_librarys() -> None:
    assert torch.equal(torch.tensor(nf4.NF4_VALUES), bnb.get_4bit_type("nf4", device="cpu"))
    assert torch.equal(nf4.dynamic_map(), bnb.create_dynamic_map())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_non_finite_weight_shows_in_its_absmax(dtype: torch.dtype, value: float) -> None:
    weights = torch.ones(200, dtype=dtype)
    weights[130] = value
    assert torch.isfinite(nf4.block_absmax(weights, 64)).tolist() == [True, True, False, True]


def test_the_installed_version_was_tested() -> None:
    assert library.installed() in library.VERIFIED


def test_an_unknown_version_is_tried_against_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "installed", lambda: "99.0")
    assert library.agrees_with_nf4.__wrapped__()
    monkeypatch.setattr(nf4, "nested_absmax", lambda absmax: absmax)  # as if the library's format had changed
    assert not library.agrees_with_nf4.__wrapped__()
