"""Everything before the trainer, in one line: settings, rows, plan, forecast, files. No GPU, no torch, nothing written.

Each step is done once: the rows are read with the settled chat template, fraction and seed, and planned for once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from launcher.catalog import Gpu
from launcher.data.read_as import AS_IT_IS, ReadAs
from launcher.data.report import DataReport
from launcher.errors import BadInput
from launcher.golden.evaluate import metrics_for
from launcher.golden.rows import GoldenRow, golden_notes
from launcher.planning.forecast import forecast
from launcher.planning.request import Request
from launcher.preparing.asked import Asked
from launcher.preparing.from_request import FromRequest
from launcher.preparing.origin import Origin
from launcher.preparing.prepared import Exam, Prepared, require_fit


def prepare_asked(
    asked: Asked, find_card: Callable[[], Gpu], *, usd_per_hour: float | None = None, merge: bool = True
) -> Prepared:
    """Decide and check what was asked for: a run planned here, or one read back from a config that the person edited.

    ``find_card`` is asked for the card of this machine where none is named. Raises what `prepare` raises.
    """
    exam = Exam.read(asked.golden_path, asked.gates, allow_overlap=asked.allow_overlap)
    origin: Origin
    if asked.config is not None:
        from launcher.preparing.from_config import FromConfig

        origin = FromConfig(asked, find_card)
    else:
        assert asked.data is not None
        origin = FromRequest(asked.request(), Path(asked.data), asked.read_as)
    return _prepare(origin, exam, usd_per_hour=usd_per_hour, merge=merge)


def prepare(
    request: Request,
    data: Path,
    *,
    golden: Path | None = None,
    gates: Sequence[str] = (),
    allow_overlap: bool = False,
    usd_per_hour: float | None = None,
    merge: bool = True,
    inspected: DataReport | None = None,
    read_as: ReadAs = AS_IT_IS,
) -> Prepared:
    """Decide and check everything that can be known before a GPU is touched.

    ``usd_per_hour`` wins over the card's own price; without ``merge`` the forecast has no time for one. ``read_as``
    says how the rows are read; ``inspected`` is what `Prepared.inspected` says of the same rows, read in the same way.

    Raises Unreadable or BadInput with every problem of the data, the golden set, the gates and the plan, and BadInput
    when the plan does not fit its card.
    """
    exam = Exam.read(golden, gates, allow_overlap=allow_overlap)
    return _prepare(FromRequest(request, data, read_as, inspected), exam, usd_per_hour=usd_per_hour, merge=merge)


def _prepare(origin: Origin, exam: Exam, *, usd_per_hour: float | None, merge: bool) -> Prepared:
    problems = origin.read_rows(exam)
    golden: list[GoldenRow] = []
    if exam.golden is not None:
        try:
            golden = origin.read_golden(exam.golden)
        except BadInput as error:
            problems += error.problems
    if problems:
        raise BadInput(problems)
    if exam.golden is not None:
        metrics_for(golden, exam.gates, exam.golden)  # a missing library is said now, not after the training
    planned = origin.plan()
    plan, request = planned.plan, planned.request
    found = forecast(plan, request, usd_per_hour=usd_per_hour, golden_rows=len(golden), merge=merge)
    require_fit(found.memory, request.gpu, plan.method)
    files = origin.render(planned)
    return Prepared(
        request=request,
        forecast=found,
        rows=planned.rows,
        report=planned.report,
        inspected=origin.report,
        files=files.texts,
        findings=files.findings,
        base_folder=origin.base,
        golden_path=exam.golden,
        golden=tuple(golden),
        gates=exam.gates,
        overlay=files.overlay,
        warnings=files.warnings,
        notes=files.notes + (golden_notes(golden, exam.golden) if exam.golden is not None else ()),
    )
