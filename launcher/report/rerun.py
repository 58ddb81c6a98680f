"""The command that makes a run again: from what its manifest says was asked, not from what was decided."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher.catalog import list_models, load_preset
from launcher.errors import QlError
from launcher.records.run import Manifest

BY_PERSON = "set by you"  # the reason that a plan gives for a value that the person fixed
AS_IN_QLORA = "as in the QLoRA run that it is compared with"  # the end of a reason in a pair of runs
_FLAGS = {"method": "--method", "backend": "--backend", "compute_dtype": "--compute-dtype", "max_steps": "--max-steps"}


def rerun_command(record: Manifest) -> list[str]:
    """``ql launch …`` with the same preset, data, golden set, gates and overrides."""
    plan = record.plan
    argv = ["ql", "launch", *_target(plan)]
    for key, reason in plan.get("reasons", {}).items():
        given = reason == BY_PERSON or reason.endswith(AS_IN_QLORA)
        if not given or plan.get(key) is None:
            continue
        if key in _FLAGS:
            argv += [_FLAGS[key], str(plan[key])]
        else:
            argv += ["--set", f"{key}={_yaml(plan[key])}"]
    if record.data and record.data.path:
        argv += ["--data", record.data.path]
    if record.golden:
        argv += ["--golden", record.golden.path]
        for gate in record.golden.gates:
            argv += ["--gate", gate]
    if record.base_mode == "original":
        argv += ["--base", "original"]
    if any(stage.name == "merge" and stage.state == "skipped" for stage in record.stages):
        argv.append("--no-merge")
    return argv


def _target(plan: Mapping[str, Any]) -> list[str]:
    """The preset, and the card and model where they are not the preset's own."""
    argv: list[str] = []
    model = plan["model"] if plan["model"] in list_models() else str(Path(plan["base_model"]))
    named = None
    if plan.get("preset"):
        argv += ["--preset", plan["preset"]]
        try:
            named = load_preset(plan["preset"])
        except QlError:
            named = None
    if named is None or named.gpu != plan["gpu"]:
        argv += ["--gpu", plan["gpu"]]
    if named is None or named.model != plan["model"]:
        argv += ["--model", model]
    return argv


def _yaml(value: Any) -> str:
    """A value as `--set` reads it: JSON is YAML."""
    return value if isinstance(value, str) else json.dumps(value)
