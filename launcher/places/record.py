"""place.json beside run.json: where a run was submitted. run.json belongs to whoever runs the stages by then."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from launcher.errors import Unreadable
from launcher.files import read_bounded, write_json
from launcher.places.base import Place, Submission

FILE = "place.json"


@dataclass(frozen=True)
class Submitted:
    """``place`` is the place's name, ``submitted`` UTC, ISO 8601."""

    place: str
    handle: str
    submitted: str


def submit(place: Place, submission: Submission) -> Submitted:
    """Submit it, and write down where. Raises what the place raises; then nothing is written."""
    handle = place.submit(submission)
    done = Submitted(place.name, handle, datetime.now(UTC).isoformat(timespec="seconds"))
    write_json(submission.folder / FILE, asdict(done))
    return done


def read_submitted(folder: Path) -> Submitted | None:
    """Where the run in ``folder`` was submitted last; None where it was not. Raises Unreadable for a damaged file."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        return Submitted(**json.loads(read_bounded(path)))
    except (OSError, ValueError, TypeError) as error:
        raise Unreadable(
            f"{path} cannot be read: {error}", hint="remove it: it only says where the run was sent"
        ) from None
