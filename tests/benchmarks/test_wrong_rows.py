"""What is recorded of files whose rows are all wrong: one error, and no more memory for many more rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.data.wrong_rows import FAULTS, SIZES, VERBS, run

RECORDED = json.loads((Path(__file__).resolve().parents[2] / "benchmarks" / "data" / "wrong_rows.json").read_text())
MEASURED = {(one["fault"], one["verb"], one["rows"]): one for one in RECORDED["measured"]}


def test_every_fault_is_measured() -> None:
    assert set(MEASURED) == {(fault, verb, size) for fault in FAULTS for verb in VERBS for size in SIZES}


@pytest.mark.parametrize(("fault", "verb"), [(fault, verb) for fault in FAULTS for verb in VERBS])
def test_one_error_and_flat_memory(fault: str, verb: str) -> None:
    few, many = (MEASURED[fault, verb, size] for size in SIZES)
    assert (many["errors"], many["exit_code"], many["lines"]) == (1, 1, few["lines"])
    assert many["peak_mib"] < few["peak_mib"] + 8


@pytest.mark.parametrize("fault", FAULTS)
def test_it_is_still_so(fault: str, tmp_path: Path) -> None:
    file, text = FAULTS[fault]
    with (tmp_path / file).open("w") as stream:
        stream.writelines(text(SIZES[0]))
    for verb, words in VERBS.items():
        found = run([*words, file], tmp_path)
        assert {key: found[key] for key in ("lines", "errors", "exit_code")} == {
            key: MEASURED[fault, verb, SIZES[0]][key] for key in ("lines", "errors", "exit_code")
        }, verb
