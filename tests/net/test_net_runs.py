"""Runs that were stopped before the program was rebuilt are brought to their end by the program as it is now."""

from __future__ import annotations

from pathlib import Path

import pytest

from net.resumed import STOPPED, one
from net.store import compare, read, read_intended
from net.work import make_work

pytestmark = pytest.mark.acceptance
PART = "resumed"


@pytest.mark.parametrize("name", STOPPED)
def test_a_kept_run_is_resumed(name: str, tmp_path: Path) -> None:
    found = one(make_work(tmp_path), name)
    problems = compare(PART, {name: read(PART)[name]}, {name: found}, read_intended(), whole=False)
    assert not problems, "\n" + "\n\n".join(problems)
