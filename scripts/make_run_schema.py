"""Write schemas/run.json from the dataclasses of launcher/records/run.py: ``python scripts/make_run_schema.py``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from launcher.records.run import Manifest
from launcher.records.schema import schema_of

TARGET = Path(__file__).resolve().parent.parent / "schemas" / "run.json"
HEAD = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "run.json",
    "title": "Run manifest",
    "description": "run.json of a run directory: what was asked, decided, done and found. "
    "Stages add their own facts, so other keys may stand anywhere.",
}


def run_schema() -> dict[str, Any]:
    return HEAD | schema_of(Manifest)


if __name__ == "__main__":
    TARGET.write_text(json.dumps(run_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
