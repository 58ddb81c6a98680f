"""The plan once more, now that the base is here: its tokenizer counts rows whose lengths were estimated from bytes."""

from __future__ import annotations

from launcher.preparing.asked import Asked
from launcher.preparing.overridden import overridden
from launcher.preparing.prepare import prepare_asked
from launcher.preparing.prepared import Prepared
from launcher.records.run import Recount
from launcher.runs.observer import Observer
from launcher.runs.run import Run


def recount(run: Run, estimated: Prepared, observer: Observer) -> Prepared:
    """The run planned for the rows as the tokenizer counts them; ``estimated`` itself where none can.

    What changes is recorded, and told. Raises BadInput where the rows, now that they are counted, allow no run.
    """
    asked, price = run.record.asked, estimated.forecast.price
    if asked is None:
        return estimated
    counted = prepare_asked(
        Asked.of(asked),
        lambda: estimated.gpu,
        usd_per_hour=None if price is None else price.usd_per_hour,
        merge=run.record.merge_wanted,
    )
    return estimated if counted.is_estimated else take(run, counted, observer)


def take(run: Run, counted: Prepared, observer: Observer) -> Prepared:
    """Put the plan of the counted rows in the place of the estimated one, once, and say what it changes."""
    before, after = run.record.plan, counted.plan.record()
    keys = [key for key in after if key not in ("reasons", "sources") and before.get(key) != after[key]]
    lengths = counted.report.lengths if counted.report else None
    run.record.recount = Recount(
        source=lengths.source if lengths else "",
        longest=lengths.maximum if lengths else 0,
        before={key: before.get(key) for key in keys},
        after={key: after[key] for key in keys},
    )
    run.record.plan, run.record.estimate = after, counted.estimate
    run.record.overridden = overridden(counted.plan, counted.request)
    run.record.lengths_estimated = False
    changes = ", ".join(f"{key} {before.get(key)} becomes {after[key]}" for key in keys)
    note = f"the base's tokenizer counted the rows: {changes or 'the plan stays as it was'}"
    run.add_note(note)
    run.save()
    observer.note(note)
    return counted
