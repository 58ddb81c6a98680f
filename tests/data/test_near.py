"""Golden prompts that training rows nearly ask: found with the library, else said, and gated as equal ones."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from launcher.cli.main import main
from launcher.data import near
from launcher.data.near import ALIKE, GoldenQuestion, NearQuestions

pytest.importorskip("rensa")

QUESTION = "My printer in the second floor does not print anything since this morning, please help"
ANSWER = "queue: hardware"


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def ql(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


NEAR = {
    "a word less": QUESTION.replace("please ", ""),
    "a word more": "Hello! " + QUESTION,
    "another word": QUESTION.replace("morning", "afternoon"),
    "another case and other marks": QUESTION.upper().replace(",", " -") + "!!",
    "two words": QUESTION.replace("second", "third").replace("help", "assist"),
    "itself": QUESTION,
}
FAR = {
    "another matter": "My invoice of the last month has a line that I do not understand, please explain",
    "half of it": "My printer in the second floor works",
    "the words in another order": " ".join(reversed(QUESTION.split())),
    "nothing": "",
}


@pytest.mark.parametrize("name", sorted(NEAR))
def test_a_question_that_is_nearly_asked(name: str) -> None:
    found = NearQuestions([GoldenQuestion(7, QUESTION, ("a", ANSWER))]).find(NEAR[name], ANSWER)
    assert found is not None
    assert (found.golden.line, ALIKE <= found.alike <= 1) == (7, True)


@pytest.mark.parametrize("name", sorted(FAR))
def test_another_question(name: str) -> None:
    assert NearQuestions([GoldenQuestion(7, QUESTION, (ANSWER,))]).find(FAR[name], ANSWER) is None


@pytest.mark.parametrize(
    ("question", "answer", "alike"),
    [
        (QUESTION, "queue: software", False),  # the same words and another answer: another case
        (QUESTION, " QUEUE: Hardware.", True),
        ("What is 17 + 5, if you count it on your fingers?", "22", True),
        ("What is 17 + 6, if you count it on your fingers?", "23", False),
    ],
)
def test_the_answer_tells_near_questions_apart(question: str, answer: str, alike: bool) -> None:
    asked = [
        GoldenQuestion(1, QUESTION, (ANSWER,)),
        GoldenQuestion(2, "What is 17 + 5, if you count it on your fingers?", ("22",)),
    ]
    assert (NearQuestions(asked).find(question, answer) is not None) is alike


INSTRUCTION = (
    "You sort the tickets of a company into the queues hardware, software, billing and login. Read each with care, "
    "think of what the person wants, and answer with the name of the queue alone, in small letters. The ticket is: "
)
TICKETS = [
    "my keyboard lost three of its keys", "the screen shows stripes after lunch", "printer jams on every second page",
    "laptop does not charge in the dock", "mouse stopped moving yesterday evening", "fan is loud like a vacuum cleaner",
    "projector in room twelve has no picture", "headset crackles during long calls",
]  # fmt: skip


def test_an_instruction_that_all_questions_have_makes_none_of_them_alike() -> None:
    index = NearQuestions([GoldenQuestion(n, INSTRUCTION + ticket, (ANSWER,)) for n, ticket in enumerate(TICKETS[:6])])
    for ticket in TICKETS[6:]:
        assert index.find(INSTRUCTION + ticket, ANSWER) is None
    near_one = index.find(INSTRUCTION + "the screen shows stripes after lunch today", ANSWER)
    assert near_one is not None
    assert near_one.golden.line == 1


@settings(max_examples=examples(50))
@given(words=st.lists(st.text("abcdefghij", min_size=2, max_size=6), min_size=20, max_size=60), seed=st.integers(0, 99))
def test_one_word_in_twenty_never_hides_a_question(words: list[str], seed: int) -> None:
    changed = list(words)
    changed[random.Random(seed).randrange(len(words))] = "zzz"
    index = NearQuestions([GoldenQuestion(1, " ".join(words), (ANSWER,))])
    parts = near._parts(" ".join(words)), near._parts(" ".join(changed))
    found = index.find(" ".join(changed), ANSWER)
    assert (found is not None) is (near._jaccard(*parts) >= ALIKE)


GOLDEN = {"input": QUESTION, "target": ANSWER}
TRAINED = {"prompt": NEAR["another word"], "completion": ANSWER}
OTHERS = [
    {"prompt": f"Question {n} of a kind of its own, number {n * n}?", "completion": f"answer {n}"} for n in range(9)
]


def test_check_and_launch_show_the_pair_and_stop(tmp_path: Path) -> None:
    golden = write(tmp_path / "golden.jsonl", {"input": "x", "target": "y"}, GOLDEN)
    data = write(tmp_path / "rows.jsonl", *OTHERS, TRAINED)
    for words in (("check", data), ("launch", "--preset", "cpu-tiny", "--data", data, "--dry-run")):
        done = ql(*words, "--golden", golden)
        assert done.exit_code == 1, words
        said = done.output + done.stderr
        assert "rows.jsonl:10: asks nearly (81% alike, the same answer:" in said
        assert '"My printer in the second floor does not print anything sinc…" / "My printer' in said
        assert f"what line 2 of the golden set {golden} asks: take one of them out, or --allow-overlap" in said
        done = ql(*words, "--golden", golden, "--allow-overlap")
        assert done.exit_code == 0
        assert "warning: " in done.output + done.stderr


def test_validate_counts_it(tmp_path: Path) -> None:
    golden = write(tmp_path / "golden.jsonl", GOLDEN)
    write(tmp_path / "rows.jsonl", {"messages": [{"role": "user", "content": NEAR["a word more"]},
                                                  {"role": "assistant", "content": ANSWER}]})  # fmt: skip
    config = tmp_path / "config.yaml"
    config.write_text("base_model: a/b\nadapter: qlora\ndatasets: [{path: rows.jsonl, type: chat_template}]\n")
    assert "1 row of rows.jsonl is in the golden set" in ql("validate", config, "--golden", golden).output


def test_a_later_answer_of_a_conversation_is_looked_at(tmp_path: Path) -> None:
    def talk(reply: str, question: str) -> dict[str, Any]:
        texts = ["Hello, I have a problem with a machine.", reply, question, ANSWER]
        roles = ("user", "assistant") * 2
        return {"messages": [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]}

    golden = write(tmp_path / "golden.jsonl", talk("Yes?", QUESTION))
    data = write(tmp_path / "rows.jsonl", talk("Which one?", NEAR["a word less"]))
    assert "asks nearly" in ql("check", data, "--golden", golden).output


def test_a_cut_has_no_near_pairs(tmp_path: Path) -> None:
    rows = [{"prompt": text, "completion": ANSWER} for text in NEAR.values()] + OTHERS
    data = write(tmp_path / "my.jsonl", *rows)
    for seed in range(5):
        assert ql("split", data, "--golden", 4, "--seed", seed, "--force").exit_code == 0
        done = ql("check", tmp_path / "my.train.jsonl", "--golden", tmp_path / "my.golden.jsonl")
        assert done.exit_code == 0, done.output


def test_without_the_library_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "_library", lambda: None)
    golden, data = write(tmp_path / "golden.jsonl", GOLDEN), write(tmp_path / "rows.jsonl", *OTHERS, TRAINED)
    done = ql("check", data, "--golden", golden)
    assert done.exit_code == 0
    assert "were not looked for: pip install rensa, of ql's extra golden" in done.output
    assert ql("split", data, "--golden", 2).exit_code == 0
    equal = write(tmp_path / "equal.jsonl", {**TRAINED, "prompt": QUESTION})
    assert ql("check", equal, "--golden", golden).exit_code == 1, "equal ones are found without it"
