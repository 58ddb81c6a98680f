"""The stages of a run, in their order. Each reads what it needs from the run directory and records what it found."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from launcher.errors import RunFailed
from launcher.golden.evaluate import evaluate as evaluate_golden
from launcher.golden.gates import judge, parse_gates
from launcher.golden.rows import read_golden
from launcher.records.codec import encode
from launcher.records.events import Message
from launcher.records.jobs import ADAPTER, MERGE, VERIFY, AdapterRequest, Answered, Asked, Call, Job, VerifyRequest
from launcher.records.merged import Merged
from launcher.records.run import Training
from launcher.report.series import read_series
from launcher.runs.events import read_events
from launcher.runs.observer import Observer
from launcher.runs.results.merging import merge_request
from launcher.runs.results.model_cards import write_cards
from launcher.runs.results.reporting import write_report
from launcher.runs.results.scoring import model_request
from launcher.runs.results.summary import curve_of
from launcher.runs.run import Run
from launcher.runs.training.repairs import allows
from launcher.runs.training.train import train_to_the_end
from launcher.runs.training.what_fits import what_fits
from launcher.trainers.workers import call_worker


def worker(run: Run, stage: str, observer: Observer) -> Call:
    """A function that runs one torch job under the trainer's python, with its output in ``<stage>.log``."""

    def hear(message: Message) -> None:
        if message.get("event") == "repair":
            before, after = message["before"], message["after"]
            record = run.record_repair(
                stage=stage,
                kind=message["kind"],
                cause="out of memory while the golden set was answered",
                action=f"prompts at once {before} to {after}",
                step=None,
                before={"golden_batch_size": before},
                after={"golden_batch_size": after},
            )
            observer.repair(record)
        else:
            observer.progress(stage, message)

    def call(job: Job[Asked, Answered], request: Asked, /) -> Answered:
        return call_worker(run.trainer_python, job, request, run.path / f"{stage}.log", hear)

    return call


def train(run: Run, observer: Observer) -> None:
    """Run the trainer to its end and put its adapter into adapter/.

    The trainer's end is recorded by itself: what comes after it does not cost a second training.
    """
    if run.record.training is None:
        run.record.training = train_to_the_end(run, observer, partial(what_fits, run))
        record = run.path / "trainer" / "quantization.json"
        found = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else None
        run.record.amend({"quantization": found})
        run.save()
    dtype = run.plan["compute_dtype"]
    worker(run, "train", observer)(
        ADAPTER,
        AdapterRequest(
            source=str(run.path / "trainer"),
            out=str(run.path / "adapter"),
            dtype="float16" if dtype == "float32" else dtype,
            base_model=run.plan["base_model"],
            chat_template=run.chat_template,
        ),
    )
    write_cards(run)


def evaluate(run: Run, observer: Observer) -> None:
    """Score base and adapter on the golden set."""
    _score(run, ["base", "adapter"], worker(run, "evaluate", observer))


def merge(run: Run, observer: Observer) -> None:
    """Merge the adapter into a 16-bit checkpoint."""
    merged = worker(run, "merge", observer)(MERGE, merge_request(run))
    run.record.merge = merged
    said = no_change(merged, run.record.training)
    if said and run.add_note(said):
        observer.note(said)


def no_change(merged: Merged, training: Training | None) -> str | None:
    """What is to be said of an adapter that is as it began; None of one that changes the base.

    Few steps bring it about: in the first the learning rate may still be 0, and the best checkpoint may be that one.
    """
    if not merged.merged_modules or not merged.says("delta_error") or merged.delta_error is not None:
        return None
    best = training and training.best_checkpoint
    kept = f": {best} was the best by its evaluation loss, and --keep last ships the last one" if best else ""
    return f"the adapter changes nothing, its weights are those that training began with{kept}"


def verify(run: Run, observer: Observer) -> None:
    """How far the merged model is from the one that was trained, and its golden scores."""
    call = worker(run, "verify", observer)
    request = VerifyRequest(merge=merge_request(run), prompts=_sample_texts(run))
    found = call(VERIFY, request)
    assert run.record.merge is not None
    run.record.merge.amend(encode(found))
    if run.record.golden:
        _score(run, ["merged"], call)


def report(run: Run, observer: Observer) -> None:
    """Judge the gates, write report.html and the model cards."""
    if run.record.golden:
        run.record.gates = judge(parse_gates(run.record.golden.gates), run.record.golden_scores)
    run.record.curve = curve_of(read_series(read_events(run.path)))
    write_report(run)
    write_cards(run)


def _score(run: Run, subjects: list[str], call: Call) -> None:
    golden = run.record.golden
    assert golden is not None
    conversational = run.plan["conversational"]
    result = evaluate_golden(
        run.path,
        read_golden(Path(golden.path), conversational=conversational, columns=run.record.columns),
        call,
        subjects=subjects,
        models=model_request(run),
        gates=parse_gates(golden.gates),
        conversational=conversational,
        thought_tokens=run.record.data.thought_tokens if run.record.data else 0,
        shrink=allows(run.record.repair_policy, "oom_eval"),
    )
    run.record.golden_scores |= {subject: dict(scores) for subject, scores in result.scores.items()}
    for note in result.notes:
        run.add_note(note)


def _sample_texts(run: Run) -> list[Any]:
    """Rows to compare the merged model on: held-out ones where there are, else the first that were trained on."""
    for name in ("sample.jsonl", "eval.jsonl", "train.jsonl"):  # a sample: of an edited config, in its own formats
        path = run.path / "data" / name
        if path.is_file():
            with path.open(encoding="utf-8") as stream:
                return [json.loads(line) for _, line in zip(range(16), stream, strict=False)]
    raise RunFailed(f"{run.path}/data is empty")
