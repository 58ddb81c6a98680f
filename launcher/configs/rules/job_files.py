"""The job file of `ql launch`: what its schema cannot say."""

from __future__ import annotations

from collections.abc import Iterator

from launcher.errors import did_you_mean
from launcher.rules.base import Config, Hit, rule


@rule("QL951", "error", kinds=("job",))
def unknown_name(c: Config) -> Iterator[Hit]:
    """A preset or a card that ql does not have.

    `ql launch` stops at once; `ql presets` lists what there is.
    """
    from launcher.catalog import list_gpus, list_presets

    for key, names in (("preset", list_presets), ("gpu", list_gpus)):
        value = c.get(key)
        if value and value not in names():
            yield c.at(key, f"no such {key}: {value!r}", did_you_mean(value, names()))


@rule("QL954", "error", kinds=("job",))
def nothing_to_plan_for(c: Config) -> Iterator[Hit]:
    """Neither `preset`, nor both of `gpu` and `model`.

    Nothing says what to train on what; `ql launch` stops at once.
    """
    if not c.has("preset") and not (c.has("gpu") and c.has("model")):
        yield c.at((), "neither a preset, nor a card and a model", "preset: NAME, as `ql presets` lists them")


@rule("QL952", "error", kinds=("job",))
def gates_without_golden(c: Config) -> Iterator[Hit]:
    """`gates` without `golden`.

    A gate is a condition on golden scores; without a golden set there are none, and `ql launch` stops at once.
    """
    if c.get("gates") and not c.has("golden"):
        yield c.key("gates", "gates need a golden set to be measured on", "golden: FILE.jsonl")


@rule("QL953", "error", kinds=("job",))
def files_that_are_not_there(c: Config) -> Iterator[Hit]:
    """A data file or golden set that is not there (with `--with-data`).

    `ql launch` stops at once. Paths are relative to the job file.
    """
    for key in ("data", "golden"):
        if c.folder is not None and c.has(key) and not (c.folder / c.get(key)).is_file():
            yield c.at(key, f"no such file: {c.folder / c.get(key)}", "paths are relative to this file")
