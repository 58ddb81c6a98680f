from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from launcher.errors import RunFailed, Unreadable
from launcher.golden import metrics
from launcher.golden.metrics import METRICS, check_patterns, choose_metrics, score_answer, tidy

TEXT_METRICS = [name for name in METRICS if name != "regex"]
texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40)
targets = texts.filter(str.strip)


@settings(max_examples=examples(60), deadline=None)  # the first one imports sacrebleu
@given(output=texts, target=targets)
def test_every_score_is_between_0_and_1(output: str, target: str) -> None:
    for name, value in score_answer(output, [target], TEXT_METRICS).items():
        assert 0.0 <= value <= 1.0, name


@settings(max_examples=examples(60), deadline=None)
@given(target=targets)
def test_the_target_itself_scores_1(target: str) -> None:
    scores = score_answer(target, [target], TEXT_METRICS)
    assert scores["exact_match"] == scores["contains"] == scores["token_f1"] == 1.0
    if metrics.words(target):
        assert scores["rouge_l"] == 1.0


@given(output=texts, target=targets)
def test_an_exact_match_also_contains(output: str, target: str) -> None:
    assert metrics.contains(output, target) >= metrics.exact_match(output, target)


@given(output=texts, first=targets, second=targets)
def test_several_targets_count_as_the_best_of_them(output: str, first: str, second: str) -> None:
    names = ["exact_match", "contains", "token_f1"]
    each = [score_answer(output, [target], names) for target in (first, second)]
    both = score_answer(output, [first, second], names)
    assert both == {name: max(one[name] for one in each) for name in names}


@given(output=texts, target=targets)
def test_word_scores_do_not_depend_on_who_is_the_target(output: str, target: str) -> None:
    assert metrics.token_f1(output, target) == pytest.approx(metrics.token_f1(target, output))


@given(text=texts)
def test_tidy_is_settled_after_once(text: str) -> None:
    assert tidy(tidy(text)) == tidy(text)


def test_spacing_and_unicode_form_do_not_count_but_case_does() -> None:
    assert metrics.exact_match(" caf\u00e9 \n au  lait", unicodedata.normalize("NFD", "caf\u00e9 au lait")) == 1
    assert metrics.exact_match("Billing", "billing") == 0
    assert metrics.contains("The queue is\nbilling.", "is billing") == 1


def test_token_f1_counts_shared_words_once_each() -> None:
    # two of three words against two of four: 2 * 2 / 7
    assert metrics.token_f1("red Red blue", "red, blue and green") == pytest.approx(4 / 7)
    assert metrics.token_f1("", "red") == 0


def test_rouge_l_reads_every_script() -> None:
    assert metrics.rouge_l("красный синий", "красный, синий") == 1
    # longest common subsequence "a c" of 3 and 2 words: precision 2/3, recall 1
    assert metrics.rouge_l("a b c", "a c") == pytest.approx(0.8)


@pytest.mark.slow  # importing rouge-score takes nine seconds
@settings(max_examples=examples(200), deadline=None)
@given(output=st.text("ab c1", max_size=30), target=st.text("ab c1", max_size=30))
def test_rouge_l_is_that_of_rouge_score(output: str, target: str) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    expected = RougeScorer(["rougeL"]).score(target, output)["rougeL"].fmeasure
    if metrics.words(output) and metrics.words(target):
        assert metrics.rouge_l(output, target) == pytest.approx(expected)


def test_chrf_is_sacrebleus_sentence_score() -> None:
    from sacrebleu import sentence_chrf

    assert metrics.chrf("the cat sat", "the cat sits") == pytest.approx(
        sentence_chrf("the cat sat", ["the cat sits"]).score / 100
    )


def test_regex_searches_the_answer() -> None:
    assert metrics.regex("invoice 4711.", r"\d{4}\.$") == 1
    assert metrics.regex("invoice 471.", r"\d{4}") == 0


def test_regex_is_scored_only_when_asked_for() -> None:
    assert choose_metrics() == TEXT_METRICS
    assert choose_metrics(["regex"]) == list(METRICS)


def test_an_unknown_metric_is_named_with_the_nearest() -> None:
    with pytest.raises(Unreadable, match="exact_match"):
        choose_metrics(["exact_mach"])


def test_a_missing_library_matters_only_where_its_metric_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(metrics._NEEDS, "chrf", "a_library_that_is_not_there")
    assert "chrf" not in choose_metrics()
    with pytest.raises(RunFailed, match=r"pip install 'sacrebleu>=2\.5'"):
        choose_metrics(["chrf"])


def test_bad_patterns_are_told_with_their_lines() -> None:
    [(line, message)] = check_patterns([(r"\d+", 1), ("(open", 7)])
    assert line == 7
    assert "not a regular expression" in message
