"""The solver: the fastest shape that fits is taken, whatever the numbers; nothing that fits is faster."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.sizing import MemoryEstimate, Shape, TriedShape, divisors, solve_batch
from launcher.sizing.batch import SAME_SPEED

SHAPES = [
    Shape(size, recompute, offload, False, (), 512)
    for recompute, offload in ((False, False), (True, False), (True, True))
    for size in (1, 2, 4, 8)
]


def trial(shape: Shape, gib: float, speed: float | None, budget: float | None = 10.0) -> TriedShape:
    memory = MemoryEstimate(gib, gib, gib, gib, 1.0, {}, budget)
    return TriedShape(shape, memory, speed)


measured = st.lists(
    st.tuples(st.floats(min_value=1, max_value=20), st.floats(min_value=1, max_value=1e4)),
    min_size=len(SHAPES),
    max_size=len(SHAPES),
)


@given(measured)
def test_no_fitting_shape_is_faster_than_the_chosen_one(figures: list[tuple[float, float]]) -> None:
    table = {shape: trial(shape, *figure) for shape, figure in zip(SHAPES, figures, strict=True)}
    solution = solve_batch(SHAPES, table.__getitem__)
    assert len(solution.trials) == len(SHAPES)
    fitting = [one for one in table.values() if one.fits]
    assert solution.fits == bool(fitting)
    if not fitting:
        assert solution.best.memory.peak_gib <= min(one.memory.peak_gib for one in table.values()) + 0.01
        return
    assert solution.best.speed is not None
    assert all(one.speed is None or one.speed <= solution.best.speed / (1 - SAME_SPEED) + 1e-9 for one in fitting)


def test_of_equally_fast_shapes_the_smaller_wins() -> None:
    solution = solve_batch(SHAPES, lambda shape: trial(shape, float(shape.micro_batch_size), 100.0))
    assert solution.best.shape.micro_batch_size == 1
    assert not solution.best.shape.activation_offload


def test_without_a_speed_the_largest_checkpointed_batch_that_fits_on_the_device_wins() -> None:
    def measure(shape: Shape) -> TriedShape:
        return trial(shape, shape.micro_batch_size * (1.5 if shape.activation_offload else 2.0), None)

    best = solve_batch(SHAPES, measure).best.shape
    assert (best.micro_batch_size, best.gradient_checkpointing, best.activation_offload) == (4, True, False)


def test_a_peak_while_loading_counts() -> None:
    memory = MemoryEstimate(1.0, 1.0, 1.0, 1.0, 1.0, {}, 10.0, load_gib=11.0)
    assert not TriedShape(SHAPES[0], memory, 1.0).fits


def test_a_rival_is_the_fastest_that_fits_else_the_smallest() -> None:
    def measure(shape: Shape) -> TriedShape:
        return trial(shape, 3.0 * shape.micro_batch_size, float(shape.micro_batch_size))

    solution = solve_batch(SHAPES, measure)
    rival = solution.rival(activation_offload=True)
    assert rival is not None
    assert rival.shape.micro_batch_size == 2
    nothing = solve_batch(SHAPES, lambda shape: trial(shape, 20.0 + shape.micro_batch_size, 1.0)).rival(packing=False)
    assert nothing is not None
    assert nothing.shape.micro_batch_size == 1
    assert solution.rival(packing=True) is None


@pytest.mark.parametrize(
    ("number", "largest", "expected"), [(12, 64, [1, 2, 3, 4, 6, 12]), (16, 4, [1, 2, 4]), (1, 64, [1])]
)
def test_divisors(number: int, largest: int, expected: list[int]) -> None:
    assert divisors(number, largest) == expected
