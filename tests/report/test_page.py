"""What the report says besides its charts: verdict, figures against predictions, overrides, repairs, lengths."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.records.run import Manifest
from launcher.records.summary import Summary
from launcher.report import page
from launcher.report.charts import make_charts
from launcher.report.payload import pack, unpack
from launcher.report.series import read_series
from manifests import make_summary as summary
from manifests import new_manifest


def gate(passed: bool) -> dict[str, Any]:
    return {"gate": "exact_match>=0.8", "passed": passed, "reason": "merged exact_match 0.9 meets >= 0.8"}


def manifest(**facts: Any) -> Manifest:
    return new_manifest(**{"plan": {}, **facts})


DATA = {"path": "rows.jsonl", "sha256": "a" * 64}
SCORES = {"base": {"exact_match": 0.1}, "adapter": {"exact_match": 0.7}, "merged": {"exact_match": 0.9}}
FAILED = [{"name": "train", "state": "failed", "seconds": 1.0, "error": "out of GPU memory"}]
RUNNING = [{"name": "train", "state": "running", "seconds": None}]


@pytest.mark.parametrize(
    ("facts", "mood", "said"),
    [
        (
            summary(golden=SCORES, gates=[gate(True)]),
            "good",
            "All gates passed. Exact match 0.900, the base 0.100.",
        ),
        (summary(golden=SCORES, gates=[gate(False)]), "bad", "Gate missed: exact_match>=0.8."),
        (summary(golden={"adapter": {"exact_match": 0.7}}), "good", "Exact match 0.700."),
        (
            summary(best_eval_loss=0.5),
            "open",
            "Evaluation loss 0.5000. No golden set: this loss alone was looked at.",
        ),
        (summary(), "open", "Trained. No golden set and no evaluation rows: nothing was scored."),
        (summary(stages=FAILED), "bad", "The run failed in train."),
        (summary(stages=RUNNING, state="interrupted"), "open", "The run is not at its end: interrupted."),
    ],
)
def test_the_verdict(facts: Summary, mood: str, said: str) -> None:
    found = page.verdict(facts)
    assert (found["mood"], found["text"]) == (mood, said)


def test_a_failure_says_why() -> None:
    assert page.verdict(summary(stages=FAILED))["more"] == ["out of GPU memory"]


def test_figures_are_held_against_what_was_predicted() -> None:
    facts = summary(
        golden=SCORES, best_eval_loss=0.5, curve={"loss": [], "eval_loss": [1.5, 0.5]}, usd=0.5,
        price={"usd_per_hour": 1.0, "source": "given"},
        training={"steps": 1, "device_gib": 7.5, "peak_memory_gib": 7.0, "tokens_per_second": 1200.0},
    )  # fmt: skip
    estimate = {"peak_gib": 7.2, "budget_gib": 21.0, "hours": 1.0, "usd": 1.0, "tokens_per_second": 1300}
    rows = {
        name: (value, more) for name, value, more in page.figures(facts, manifest(estimate=estimate), "exact_match")
    }
    assert rows["exact match, merged"] == ("0.900", "")
    assert rows["best eval loss"] == ("0.5000", "1.5000 at first")
    assert rows["time"] == ("3.0 s", "1 h 00 min predicted")
    assert rows["cost"] == ("$0.50", "at $1.00 an hour, $1.00 predicted")
    assert rows["peak memory"] == ("7.50 GiB", "7.20 predicted, 21.00 budget")
    assert rows["tokens per second"] == ("1,200", "1,300 predicted")


def test_what_the_person_set_says_what_it_would_have_been() -> None:
    plan = {"seed": 7, "lora_r": 16, "reasons": {"seed": "set by you", "lora_r": "recipe"}}
    before = {"seed": {"value": 42, "reason": "recipe qlora: any fixed number"}}
    rows = page.plan_rows(manifest(plan=plan, overridden=before), ("lora_r", "seed"))
    assert [row["yours"] for row in rows] == [False, True]
    assert rows[1]["reason"] == "would be 42 (recipe qlora: any fixed number)"


def test_who_decided_is_not_read_from_the_words() -> None:
    plan = {"seed": 7, "lora_r": 16, "reasons": {"seed": "set by you", "lora_r": "recipe"}}
    rows = page.plan_rows(manifest(plan=plan | {"sources": {"seed": "recipe", "lora_r": "you"}}), ("lora_r", "seed"))
    assert [row["yours"] for row in rows] == [True, False]


def test_repairs_and_resumptions_stand_in_the_order_of_time() -> None:
    repair = {
        "time": "2026-01-01T00:00:10+00:00", "stage": "train", "kind": "oom_train", "cause": "out of GPU memory",
        "action": "half the micro-batch", "step": 1200,
        "before": {"micro_batch_size": 4}, "after": {"micro_batch_size": 2},
    }  # fmt: skip
    resume = {"time": "2026-01-01T00:00:05+00:00", "stage": "train", "from_step": None}
    rows = page.happened(summary(repairs=[repair], resumes=[resume]))
    assert [row["text"] for row in rows] == ["taken up again", "out of GPU memory: half the micro-batch"]
    assert rows[1]["changed"] == "micro_batch_size 4 → 2"
    assert rows[1]["step"] == "1,200"


def test_the_time_line_is_in_percent_of_the_whole() -> None:
    stages = [
        {"name": "prepare", "state": "done", "seconds": 10.0, "started": "2026-01-01T00:00:00+00:00"},
        {"name": "train", "state": "done", "seconds": 90.0, "started": "2026-01-01T00:00:10+00:00"},
        {"name": "merge", "state": "skipped", "seconds": None, "reason": "asked for"},
    ]
    repair = {"time": "2026-01-01T00:00:55+00:00", "stage": "train", "kind": "exit", "cause": "", "action": ""}
    prepare, train, merge = page.timeline(summary(stages=stages, repairs=[repair]))
    assert (prepare["left"], prepare["width"]) == (0.0, 10.0)
    assert (train["left"], train["width"], train["repairs"]) == (10.0, 90.0, [55.0])
    assert (merge["width"], merge["took"], merge["note"]) == (None, "skipped", "asked for")


def test_lengths_beyond_the_sequence_length_are_told() -> None:
    lengths = {"histogram": [[64, 5], [128, 9], [192, 1]]}
    found = page.lengths(manifest(data={**DATA, "lengths": lengths}, plan={"sequence_len": 128}))
    assert found is not None
    assert (found["width"], found["limit"]) == (64, 128)
    assert found["about"] == "Most rows, 9, have 65 to 128 tokens; the sequence length is 128."
    assert page.lengths(manifest()) is None


def test_an_edited_configs_files_go_in_whole() -> None:
    data = {**DATA, "train_rows": 90, "eval_rows": 10}
    plan = {"sequence_len": 64}
    facts = dict(page.data_facts(manifest(plan=plan, data=data)))
    assert facts["rows trained on"] == "90"
    assert "rows left out" not in facts
    data |= {"left_out": 2, "format": "messages"}
    assert dict(page.data_facts(manifest(plan=plan, data=data)))["rows left out"] == "2"


def test_charts_have_prediction_and_budget_as_lines() -> None:
    events = [{"event": "train_begin", "step": 0, "time": 10.0}]
    events += [
        {
            "event": "log",
            "step": step,
            "time": 10.0 + step,
            "loss": 1.0 / step,
            "peak_memory_gib": 6.0,
            "grad_norm": 0.1,
        }
        for step in (1, 2)
    ]
    repair = {
        "time": "1970-01-01T00:00:11+00:00", "step": 1, "stage": "train", "kind": "exit", "cause": "", "action": "",
    }  # fmt: skip
    estimate = {"peak_gib": 7.0, "budget_gib": 21.0}
    record = manifest(plan={"max_grad_norm": 0.3}, estimate=estimate, repairs=[repair])
    figures, data = make_charts(read_series(events), record)
    assert [figure["id"] for figure in figures] == ["loss", "norm", "memory"]
    assert figures[2]["lines"] == [
        {"label": "predicted", "value": 7.0, "color": "b"}, {"label": "budget", "value": 21.0, "color": "d"},
    ]  # fmt: skip
    assert figures[0]["about"] == "Train loss 1 at step 1, 0.5 at step 2, lowest 0.5 at 2, highest 1 at 1."
    assert data["sets"]["logs"]["loss"] == [1.0, 0.5]
    assert data["marks"] == [{"kind": "repair", "step": 1, "time": 1.0}]


def test_a_curve_says_where_it_has_no_finite_number() -> None:
    events = [{"event": "train_begin", "step": 0, "time": 10.0}]
    losses = [1.0, 0.5, None, None]
    events += [{"event": "log", "step": step, "time": 10.0 + step, "loss": loss} for step, loss in enumerate(losses, 1)]
    figures, _ = make_charts(read_series(events), manifest())
    assert figures[0]["about"].endswith("highest 1 at 1, no finite number at 2 of 4 steps, the first of them 3.")


def test_a_run_without_telemetry_has_no_charts() -> None:
    assert make_charts(read_series([]), manifest()) == ([], {})


def test_what_is_packed_is_exact() -> None:
    data = {"loss": [0.1 + 0.2, 1e-300, None, 12345678901234567], "text": "é < &"}
    assert unpack(pack(data)) == data
    assert pack(data) == pack(data)
