"""What the program says and writes is what was recorded, but for the differences that are listed as intended."""

from __future__ import annotations

from pathlib import Path

import pytest
from properties import share

from net.parts import HEAVY, LIGHT, make
from net.store import Cases, Intended, compare, read, read_intended

EVERY = 12  # of the presets, in `make quick`


@pytest.mark.parametrize("part", LIGHT)
def test_as_recorded(part: str, tmp_path: Path) -> None:
    """`make quick` looks at a few presets of those that `make test` looks at."""
    every = len(range(EVERY)) // len(share(range(EVERY)))
    made, recorded = make(part, tmp_path, every=every), read(part)
    seen = recorded if every == 1 else {case: texts for case, texts in recorded.items() if case in made}
    problems = compare(part, seen, made, read_intended(), whole=every == 1)
    assert not problems, "\n" + "\n\n".join(problems)


def test_every_intended_difference_is_of_a_part_and_of_a_case() -> None:
    for entry in read_intended():
        assert entry.part in (*LIGHT, *HEAVY), entry
        if entry.part in HEAVY:  # their tests see one case at a time, and cannot tell
            texts = [text for case, found in read(entry.part).items() for text in _covered(entry, case, found)]
            assert texts if entry.old is None else any(entry.old in text for text in texts), entry


def _covered(entry: Intended, case: str, sections: dict[str, str]) -> list[str]:
    return [text for section, text in sections.items() if entry.covers(case, section)]


BEFORE: Cases = {"a": {"stdout": "one\ntwo\n"}, "b": {"stdout": "two\n", "stderr": "x\n"}}


def test_a_difference_is_shown_with_its_lines() -> None:
    said = compare("p", BEFORE, {**BEFORE, "a": {"stdout": "one\nthree\n"}}, [])
    assert "1 of 2 cases" in said[0]
    assert "-two\n+three" in said[1]
    assert compare("p", BEFORE, BEFORE, []) == []


def test_a_case_that_is_gone_and_one_that_is_new_are_differences() -> None:
    said = "\n".join(compare("p", BEFORE, {"a": BEFORE["a"], "c": {}}, []))
    assert "--- b\nit is gone" in said
    assert "--- c\nit is not recorded" in said


def test_an_intended_difference_is_none_and_one_that_is_not_there_is_stale() -> None:
    words = Intended("p", "*", "better words", section="stdout", old="two", new="three")
    after: Cases = {"a": {"stdout": "one\nthree\n"}, "b": {"stdout": "three\n", "stderr": "x\n"}}
    assert compare("p", BEFORE, after, [words]) == []
    half = {**after, "b": BEFORE["b"]}
    assert compare("p", BEFORE, half, [Intended("p", "*", "r", old="two", new="three")]), "b is to change too"
    stale = compare("p", BEFORE, BEFORE, [Intended("p", "a", "r", old="four", new="five")])
    assert "nothing differs so any more" in stale[0]


def test_cases_may_be_free_to_differ() -> None:
    free = Intended("p", "b", "it is gone for good")
    assert compare("p", BEFORE, {"a": BEFORE["a"]}, [free]) == []
    assert compare("p", BEFORE, BEFORE, [Intended("p", "b", "r")]), "it does not differ"
    assert compare("p", BEFORE, {"a": BEFORE["a"]}, [Intended("other", "b", "r")])


def test_an_entry_needs_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "intended.yaml"
    path.write_text("- {part: plans, case: '*'}\n")
    with pytest.raises(ValueError, match="not an intended difference"):
        read_intended(path)
    path.write_text("[]\n")
    assert read_intended(path) == []
