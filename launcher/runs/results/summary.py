"""The facts of a run that a person or a script asks for first."""

from __future__ import annotations

from launcher.catalog import load_gpu
from launcher.errors import QlError
from launcher.records.merged import Merged
from launcher.records.run import Curve, Manifest, RecordedPrice
from launcher.records.summary import MergeSummary, Summary
from launcher.report.series import Series, read_series, sample
from launcher.runs.events import read_events
from launcher.runs.lock import is_locked
from launcher.runs.run import Run, as_written

CURVE = 40  # points of a run's loss curves in its manifest: what a list can show


def state_of(run: Run) -> str:
    """The manifest's state; ``interrupted`` where it says running and no process holds the run any more."""
    state = run.record.state
    return "interrupted" if state == "running" and not is_locked(run.path) else state


def summarise(run: Run) -> Summary:
    """The facts of a run as it is now. Raises Unreadable where its plan lacks a key that every version writes."""
    with as_written(run):
        return _summary(run)


def _summary(run: Run) -> Summary:
    record, plan = run.record, run.plan
    seconds = sum(stage.seconds or 0 for stage in record.stages)
    price = price_of(record)
    return Summary(
        name=run.path.name,
        state=state_of(run),
        path=str(run.path),
        created=record.created,
        preset=plan["preset"],
        gpu=plan.get("gpu"),
        model=plan.get("model"),
        backend=plan["backend"],
        method=plan["method"],
        base_model=plan["base_model"],
        seconds=round(seconds, 3),
        usd=None if price is None else round(seconds / 3600 * price.usd_per_hour, 6),
        price=price,
        stages=record.stages,
        best_eval_loss=record.training.best_eval_loss if record.training else None,
        training=record.training,
        curve=loss_curve(run),
        golden=record.golden_scores,
        gates=record.gates,
        merge=_merge(record.merge) if record.merge else None,
        repairs=record.repairs,
        resumes=record.resumes,
        warnings=record.warnings,
        notes=record.notes,
    )


def _merge(merge: Merged) -> MergeSummary:
    return MergeSummary(
        base=merge.base,
        dtype=merge.dtype,
        kl=merge.kl,
        top1_agreement=merge.top1_agreement,
        delta_error=merge.delta_error,
    )


def price_of(record: Manifest) -> RecordedPrice | None:
    """What an hour of the run's card cost: as the run recorded it, else the catalog's first price; None without one."""
    if record.estimate and record.estimate.says("price"):
        return record.estimate.price
    try:
        first = next(iter(load_gpu(record.plan["gpu"]).prices), None)
    except (KeyError, QlError):
        return None
    return (
        None if first is None else RecordedPrice(usd_per_hour=first.usd_per_hour, source=first.source, date=first.date)
    )


def loss_curve(run: Run) -> Curve:
    """Training and evaluation losses in at most CURVE points: from the manifest where the run has ended."""
    return run.record.curve or curve_of(read_series(read_events(run.path)))


def curve_of(series: Series) -> Curve:
    """The losses of a run's telemetry, in at most CURVE points each."""
    return Curve(
        loss=[round(value, 6) for value in sample(series.kept("loss"), CURVE)],
        eval_loss=[round(value, 6) for value in sample(series.kept_evals(), CURVE)],
    )
