"""The bytes of every merge of the tests of the merge are those that were recorded: ``record_net.py merged``."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")
pytest.importorskip("bitsandbytes")

from net.store import FOLDER, Cases, compare, read, read_intended, write
from tests.jobs.merge.conftest import make_base, merge, quantised_base, quiet, train  # noqa: F401
from tests.jobs.merge.test_cases import CASES

PART = "merged"
RECORD = bool(os.environ.get("QL_RECORD_NET"))
STORED = {"stored nf4": {"bits": 4}, "stored nf4, float16": {"bits": 4, "dtype": "float16"}, "stored int8": {"bits": 8}}
TIMED = ("seconds", "stage_seconds")
FINGERPRINT = re.compile(r' *"fingerprint": "\w+",?\n')


@pytest.fixture(scope="module")
def recorded() -> Cases:
    return read(PART) if (FOLDER / f"{PART}.json.xz").exists() and not RECORD else {}


@pytest.fixture(scope="module")
def made() -> Iterator[Cases]:
    """What the tests of this run have merged; written where the part is to be recorded."""
    found: Cases = {}
    yield found
    if RECORD:
        write(PART, found)


def digests(folder: Path) -> str:
    """The sha256 of each file of weights."""
    files = sorted(folder.glob("*.safetensors"))
    return "".join(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n" for path in files)


def plain(value: Any, folder: Path) -> str:
    return json.dumps(value, indent=1, sort_keys=True).replace(str(folder), "<work>") + "\n"


def sections(trained: Any, folder: Path, result: dict[str, Any], work: Path) -> dict[str, str]:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config.pop("transformers_version", None)
    manifest = json.loads((folder / "merge.json").read_text(encoding="utf-8"))
    return {
        "given": digests(trained.base) + digests(trained.adapter),
        "merged": digests(folder),
        "config.json": plain(config, work),
        "merge.json": plain(manifest, work),
        "result": plain({key: value for key, value in result.items() if key not in TIMED}, work),
        "files": "".join(f"{path.name}\n" for path in sorted(folder.iterdir())),
    }


def timeless(sections: dict[str, str]) -> dict[str, str]:
    """Without the merge's own fingerprint: the times of the base's files are in it, and it was made anew."""
    return {name: FINGERPRINT.sub("", text) for name, text in sections.items()}


def held(name: str, found: dict[str, str], recorded: Cases, made: Cases) -> None:
    """Compare one case. Where other libraries draw another base or adapter, there is nothing to compare."""
    made[name] = found
    if RECORD:
        return
    assert name in recorded, "record_net.py merged"
    if found["given"] != recorded[name]["given"]:
        pytest.skip("the libraries here draw other weights than those that were recorded")
    problems = compare(PART, {name: timeless(recorded[name])}, {name: timeless(found)}, read_intended(), whole=False)
    assert not problems, "\n" + "\n\n".join(problems)


@pytest.mark.parametrize("case", CASES)
def test_merged_bytes(
    case: str,
    make_base: Callable[..., Any],  # noqa: F811
    train: Callable[..., Any],  # noqa: F811
    merge: Callable[..., Any],  # noqa: F811
    tmp_path: Path,
    recorded: Cases,
    made: Cases,
) -> None:
    base, training, request = CASES[case]
    trained = train(make_base(**base), **training)
    folder, result = merge(trained, **request)
    held(case, sections(trained, folder, result, tmp_path), recorded, made)


@pytest.mark.parametrize("mode", ["original", "dequantized"])
def test_merged_bytes_of_either_base(
    mode: str,
    make_base: Callable[..., Any],  # noqa: F811
    train: Callable[..., Any],  # noqa: F811
    merge: Callable[..., Any],  # noqa: F811
    tmp_path: Path,
    recorded: Cases,
    made: Cases,
) -> None:
    trained = train(make_base())
    folder, result = merge(trained, base_mode=mode)
    held(f"base {mode}", sections(trained, folder, result, tmp_path), recorded, made)


@pytest.mark.parametrize("stored", STORED)
def test_merged_bytes_of_a_stored_base(
    stored: str,
    quantised_base: Callable[..., Any],  # noqa: F811
    train: Callable[..., Any],  # noqa: F811
    merge: Callable[..., Any],  # noqa: F811
    tmp_path: Path,
    recorded: Cases,
    made: Cases,
) -> None:
    trained = train(quantised_base(**STORED[stored]))
    folder, result = merge(trained)
    held(stored, sections(trained, folder, result, tmp_path), recorded, made)
