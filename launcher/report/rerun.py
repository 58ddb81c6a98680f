"""The command that makes a run again: from what its manifest says was asked, not from what was decided."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from launcher.catalog import list_models
from launcher.records.decision import sources_of
from launcher.records.run import AskedFor, Manifest

_FLAGS = {"method": "--method", "backend": "--backend", "compute_dtype": "--compute-dtype", "max_steps": "--max-steps"}


def rerun_command(record: Manifest) -> list[str]:
    """``ql launch …`` with the same preset, config, data, golden set, gates and settings."""
    argv = ["ql", "launch", *_asked_again(record.asked or _asked_before(record))]
    if record.base_mode == "original":
        argv += ["--base", "original"]
    if any(stage.name == "merge" and stage.state == "skipped" for stage in record.stages):
        argv.append("--no-merge")
    return argv


def _asked_again(asked: AskedFor) -> Iterator[str]:
    """The options of `ql launch` that ask for the same."""
    yield from _given({"--preset": asked.preset, "--gpu": asked.gpu, "--model": asked.model})
    named = {"method": asked.method, "backend": asked.backend}
    for key, value in ({key: name for key, name in named.items() if name is not None} | asked.settings).items():
        if key in _FLAGS and value is not None:
            yield from (_FLAGS[key], str(value))
        else:
            yield from ("--set", f"{key}={_yaml(value)}")
    yield from _given({"--config": asked.config, "--data": asked.data, "--golden": asked.golden})
    for theirs, ours in asked.columns.items():
        yield from ("--map", f"{theirs}={ours}")
    if asked.thoughts != "train":
        yield from ("--thoughts", asked.thoughts)
    for gate in asked.gates:
        yield from ("--gate", gate)
    if asked.allow_overlap:
        yield "--allow-overlap"


def _given(options: Mapping[str, str | None]) -> Iterator[str]:
    for option, value in options.items():
        if value is not None:
            yield from (option, value)


def _asked_before(record: Manifest) -> AskedFor:
    """What was asked for, of a run that does not say it: its plan tells what the person fixed."""
    plan, golden = record.plan, record.golden
    held = [key for key, source in sources_of(plan).items() if source in ("you", "pair")]
    return AskedFor(
        preset=plan.get("preset"),
        gpu=plan["gpu"],
        model=plan["model"] if plan["model"] in list_models() else plan["base_model"],
        settings={key: plan[key] for key in held if plan.get(key) is not None},
        data=record.data.path if record.data else None,
        golden=golden.path if golden else None,
        gates=golden.gates if golden else [],
    )


def _yaml(value: Any) -> str:
    """A value as `--set` reads it: JSON is YAML."""
    return value if isinstance(value, str) else json.dumps(value)
