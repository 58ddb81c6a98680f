"""Hold ql's verdict against Axolotl's own on the corpus: ``python benchmarks/validate/differential.py OUT.json``.

Needs Axolotl. Axolotl's verdict is that of its `validate_config` with the plugins registered, as its `load_cfg` does,
for one GPU of compute capability 8.6; no model is loaded and nothing is fetched.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.validate.corpus import corpus

DROPPED = ("QL101", "QL201", "QL202")  # keys of which ql says that Axolotl drops them
CAPABILITIES = {"bf16": True, "fp8": False, "tf32": True, "n_gpu": 1, "compute_capability": "sm_86"}


def axolotl_verdict(text: str) -> tuple[str | None, dict[str, Any]]:
    """(why Axolotl refuses, or None; the config that it made)."""
    from axolotl.cli.config import prepare_plugins
    from axolotl.integrations.base import PluginManager
    from axolotl.utils.config import validate_config
    from axolotl.utils.dict import DictDefault

    PluginManager._instance = None  # one process, many configs: each starts with no plugins
    config = DictDefault(yaml.safe_load(text))
    try:
        prepare_plugins(config)
        made = validate_config(config, capabilities=dict(CAPABILITIES), env_capabilities={"torch_version": "2.11.0"})
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:300]}", {}
    return None, made.to_dict()


def reaches(made: Any, path: str) -> bool:
    """Whether the key at ``path`` ("datasets[0].type") is in the config that Axolotl made."""
    for part in re.findall(r"[^.\[\]]+", path):
        if isinstance(made, list) and part.isdigit() and int(part) < len(made):
            made = made[int(part)]
        elif isinstance(made, dict) and part in made:
            made = made[part]
        else:
            return False
    return made is not None


def compare() -> dict[str, Any]:
    """The verdicts on every case, and the counts."""
    from launcher.configs.validate import check_text

    rows = []
    for case in corpus():
        with contextlib.redirect_stdout(io.StringIO()):
            refusal, made = axolotl_verdict(case.text)
        findings = check_text(case.text, file="config.yaml")
        errors = sorted({finding.code for finding in findings if finding.severity == "error"})
        dead = [finding.path for finding in findings if finding.code in DROPPED]
        rows.append(
            {
                "case": case.name,
                "fault": case.fault,
                "expected": case.code,
                "axolotl": refusal,
                "ql": errors,
                "dropped": {path: not reaches(made, path) for path in dead} if refusal is None else {},
            }
        )
    return {"counts": count(rows), "rows": rows}


def count(rows: list[dict[str, Any]]) -> dict[str, int]:
    """How the two verdicts meet."""
    names = {
        (True, True): "refused by both",
        (True, False): "refused by Axolotl only",
        (False, True): "error in ql only",
        (False, False): "accepted by both",
    }
    counts = Counter(names[(row["axolotl"] is not None, bool(row["ql"]))] for row in rows)
    return {"configs": len(rows), "valid": sum(row["fault"] is None for row in rows)} | dict(sorted(counts.items()))


def main() -> None:
    os.environ.update(AXOLOTL_DO_NOT_TRACK="1", HF_HUB_OFFLINE="1")
    logging.disable(logging.CRITICAL)
    result = compare()
    Path(sys.argv[1]).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["counts"], indent=1))


if __name__ == "__main__":
    main()
