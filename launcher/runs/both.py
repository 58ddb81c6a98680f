"""The two runs of one job, QLoRA and LoRA, one after the other; then what the one costs the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from launcher.files import write_json
from launcher.preparing.both import Both
from launcher.report.facts import Comparison
from launcher.runs.launch import LaunchOptions, launch
from launcher.runs.observer import Observer
from launcher.runs.results.comparison import compare
from launcher.runs.run import Run


def launch_both(both: Both, options: LaunchOptions, observers: Mapping[str, Observer]) -> tuple[list[Run], Comparison]:
    """Run QLoRA, then LoRA, each with the observer of its method; the runs, and the facts of their comparison.

    ``options.out`` is a folder for both, with qlora/ and lora/ in it. comparison.json and comparison.html go into the
    folder of the LoRA run. Raises what `launch` raises; the first run stays as it is when the second fails.
    """
    runs = []
    for method, prepared in zip(("qlora", "lora"), both.each, strict=True):
        out = None if options.out is None else options.out / method
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
        runs.append(launch(prepared, replace(options, out=out, asked=both.asked_for(method)), observers[method]))
    folder = runs[-1].path
    facts = compare(runs, folder / "comparison.html")
    write_json(folder / "comparison.json", facts)
    return runs, facts
