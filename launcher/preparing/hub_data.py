"""Data sets of the hub by their name: fetched through the library of the trainer's python, then a file like any."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import Unreadable
from launcher.files import expand, plain_name, write_atomic
from launcher.records.jobs import DATASET, DatasetRequest
from launcher.trainers.workers import call_worker

_NAME = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*/[\w.-]+)(:(?P<first>[\w.-]+))?(:(?P<second>[\w.-]+))?")
# A name that ends so is a file that is not there, and no data set.
_FILES = (".jsonl", ".json", ".csv", ".tsv", ".tab", ".parquet", ".arrow", ".gz", ".zst", ".txt", ".yaml", ".yml")
SOURCE = ".source.json"  # what a file of rows was fetched from, beside it


@dataclass(frozen=True)
class HubData:
    """``ORG/NAME``, ``ORG/NAME:SPLIT`` or ``ORG/NAME:CONFIG:SPLIT``."""

    name: str
    config: str | None
    split: str | None


def hub_data(text: str) -> HubData | None:
    """The data set that a value of ``--data`` names; None where it is a file or folder here, or can be nothing else."""
    found = _NAME.fullmatch(text)
    if found is None or text.lower().endswith(_FILES) or Path(text).exists():
        return None
    if Path(found["name"]).parent.is_dir():  # a file of a folder that is here: misspelled, more likely
        return None
    first, second = found["first"], found["second"]
    return HubData(found["name"], first if second else None, second or first)


def local_data(data: Path, python: str) -> Path:
    """``data``, or where the rows of the data set that it names are on this machine now.

    Raises Unreadable where there is none of that name, RunFailed where the hub cannot be reached.
    """
    asked = hub_data(str(data))
    if asked is None:
        return data
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unreadable(f"{folder}: cannot be written: {error.strerror or error}") from None
    name = plain_name("--".join(part for part in (asked.name.replace("/", "--"), asked.config, asked.split) if part))
    out = folder / f"{name}.jsonl"
    request = DatasetRequest(name=asked.name, config=asked.config, split=asked.split, out=str(out))
    found = call_worker(python, DATASET, request, folder / f"{name}.log")
    facts = {"name": asked.name, "config": found.config, "split": found.split, "splits": found.splits}
    write_atomic(folder / f"{name}.jsonl{SOURCE}", json.dumps(facts, indent=2) + "\n")
    return out


def cache_folder() -> Path:
    """Where fetched rows are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or expand("~/.cache")
    return Path(home) / "ql" / "data"
