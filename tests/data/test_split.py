from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from launcher.data.split import choose_eval

DIGESTS = st.lists(st.integers(0, 20), max_size=60)
FRACTIONS = st.floats(0.001, 0.5)


@given(digests=DIGESTS, fraction=FRACTIONS, seed=st.integers(0, 2**32 - 1))
def test_split(digests: list[int], fraction: float, seed: int) -> None:
    chosen = choose_eval(digests, fraction, seed)
    assert chosen == choose_eval(digests, fraction, seed)
    held_out = {digests[index] for index in chosen}
    trained = {digest for index, digest in enumerate(digests) if index not in chosen}
    assert not held_out & trained, "duplicates stay on one side"
    if len(set(digests)) >= 2:
        assert chosen
        assert trained
    else:
        assert not chosen


def test_fraction_and_seed_matter() -> None:
    rows = list(range(1000))
    assert len(choose_eval(rows, 0.05, 1)) == 50
    assert choose_eval(rows, 0.05, 1) != choose_eval(rows, 0.05, 2)
    assert not choose_eval(rows, 0, 1)


def test_split_is_the_same_on_every_machine() -> None:
    """The choice goes into published runs: a change of it is a change of results."""
    assert sorted(choose_eval(range(20), 0.2, 42)) == [4, 5, 9, 14]
