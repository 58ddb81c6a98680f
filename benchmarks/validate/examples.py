"""Check a folder of published configs with ql and with Axolotl: ``python examples.py FOLDER OUT.json "what it is"``.

For each config: whether Axolotl refuses it, ql's errors, and for each key that ql calls dropped whether it is in the
config that Axolotl made. The configs themselves are not kept.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.validate.differential import DROPPED, axolotl_verdict, reaches
from launcher.configs.validate import Options, check_source


def examine(path: Path, name: str) -> dict[str, Any] | None:
    """The verdicts on one config; None when it is not a training config."""
    source = path.read_bytes()
    findings = check_source(source, str(path), Options(skip_unknown=True))
    if findings is None:
        return None
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        refusal, made = axolotl_verdict(source.decode())
    errors = [finding for finding in findings if finding.severity == "error"]
    dropped = {} if refusal else {e.path: not reaches(made, e.path) for e in errors if e.code in DROPPED}
    listed = [f"{error.code} {error.path}" for error in errors]
    return {"file": name, "axolotl_refuses": refusal is not None, "errors": listed, "dropped": dropped}


def main() -> None:
    os.environ.update(AXOLOTL_DO_NOT_TRACK="1", HF_HUB_OFFLINE="1")
    logging.disable(logging.CRITICAL)
    folder, out, source = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    rows = [
        row
        for path in sorted(folder.rglob("*.y*ml"))
        if (row := examine(path, path.relative_to(folder).as_posix())) is not None
    ]
    codes = Counter(error.split()[0] for row in rows for error in row["errors"])
    dropped = [gone for row in rows for gone in row["dropped"].values()]
    summary = {
        "source": source,
        "configs": len(rows),
        "refused_by_axolotl": sum(row["axolotl_refuses"] for row in rows),
        "refused_by_axolotl_only": [row["file"] for row in rows if row["axolotl_refuses"] and not row["errors"]],
        "errors_by_code": dict(sorted(codes.items())),
        "keys_called_dropped": len(dropped),
        "of_these_dropped_by_axolotl": sum(dropped),
    }
    body = {"summary": summary, "findings": [row for row in rows if row["errors"]]}
    out.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
