"""Each thing is done once: a candidate is planned, a row parsed (and once to be written), a file of presets/ read.

Counted in a process of its own, where nothing was planned or read before.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

COUNTING = """
import collections, json, os, sys
count = collections.Counter()
opened, rows = collections.Counter(), collections.Counter()

def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, os.PathLike)):
        path = os.fspath(arguments[0])
        opened[path] += "/presets/" in path and path.endswith(".yaml")  # a base model's folder is no file of it
sys.addaudithook(hook)

def counted(module, name, key):
    function = getattr(module, name)
    def replaced(*arguments, **named):
        key(*arguments)
        return function(*arguments, **named)
    setattr(module, name, replaced)

import launcher.data.json_text as json_text
import launcher.planning.advice as advice
import launcher.planning.decide as decide
import launcher.planning.estimate as estimate

def parsed(pairs, strict=json_text._once_each):
    # Every row, on a line or in an array, is counted where a reader of JSON makes an object of it.
    found = strict(pairs)
    if isinstance(found.get("messages"), list):
        rows.update([json.dumps(found, sort_keys=True)])
    return found
for name in ("_DECODER", "_LENIENT"):
    setattr(json_text, name, json.JSONDecoder(object_pairs_hook=parsed, **json_text._PARSERS))
counted(decide, "_plan", lambda *_: count.update(["plans"]))
for module in (advice, estimate):
    counted(module, "estimate_memory", lambda *_: count.update(["estimates"]))

from launcher.runs import execute, launch, preflight
preflight.check_start = lambda *_, **__: (None, [])  # no trainer is needed to count what comes before it
if sys.argv.pop(1) == "stop after prepare":
    real = execute._stages
    def stages(run, prepared):
        return dict.fromkeys(real(run, prepared), "not looked at") | {"prepare": real(run, prepared)["prepare"]}
    execute._stages = stages
from launcher.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    code = ended.code
count["parses"] = max(rows.values(), default=0)
count["reads"] = max(opened.values(), default=0)
print(json.dumps({**count, "code": code}), file=sys.stderr)
"""


@dataclass(frozen=True)
class Counted:
    plans: int
    estimates: int
    parses: int  # of the row that was parsed most often
    reads: int  # of the file of presets/ that was read most often


def count(folder: Path, *words: str, prepare_only: bool = True) -> Counted:
    """What one `ql` does; a launch ends when its stage prepare has written the rows."""
    how = "stop after prepare" if prepare_only else "to its end"
    argv = [sys.executable, "-c", COUNTING, how, *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=folder)
    said = json.loads(done.stderr.splitlines()[-1])
    assert said["code"] in (0, None), done.stderr
    return Counted(**{name: said.get(name, 0) for name in Counted.__dataclass_fields__})


@pytest.fixture
def rows(tmp_path: Path, tickets: Path) -> str:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(tickets.read_text().splitlines(keepends=True)[:150]))  # more than the format is told by
    return str(path)


@pytest.mark.parametrize(
    ("words", "plans"),
    [
        ((), 1),
        (("--set", "learning_rate=1e-3", "--max-steps", "4"), 1),
        (("--backend", "auto"), 2),
        (("--gpu", "h100", "--model", "llama-2-7b", "--method", "auto"), 2),
        (("--gpu", "h100", "--model", "llama-2-7b", "--method", "auto", "--backend", "auto"), 4),
        (("--gpu", "h100", "--model", "llama-2-7b", "--method", "both"), 2),
    ],
)
def test_each_candidate_is_planned_once(words: tuple[str, ...], plans: int, rows: str, tmp_path: Path) -> None:
    named = () if "--gpu" in words else ("--preset", "cpu-tiny")
    found = count(tmp_path, "launch", "--dry-run", *named, *words, "--data", rows)
    assert found.plans == plans
    assert found.parses == 1
    assert found.reads == 1


def test_a_launch_plans_once_and_parses_each_row_twice(rows: str, tmp_path: Path) -> None:
    """A launch once made 5 plans and 82 estimates of memory, of which each shape that is tried is one."""
    found = count(tmp_path, "launch", "--preset", "cpu-tiny", "--data", rows, "--set", "learning_rate=1e-3")
    print(f"one launch: {found}")
    assert (found.plans, found.parses, found.reads) == (1, 2, 1)
    planned = count(tmp_path, "launch", "--dry-run", "--preset", "a10g-7b", "--data", rows)
    print(f"a dry run of a10g-7b: {planned.estimates} estimates of memory, 82 before")
    assert planned.estimates < 82 // 3


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("under", [None, "data"])
def test_so_does_one_on_an_array(under: str | None, indent: int | None, rows: str, tmp_path: Path) -> None:
    """What kind of file it is, is told by its beginning; that once cost up to seven more parses of each row."""
    read = [json.loads(line) for line in Path(rows).read_text().splitlines()]
    data = tmp_path / "rows.json"
    data.write_text(json.dumps({under: read} if under else read, indent=indent))
    found = count(tmp_path, "launch", "--preset", "cpu-tiny", "--data", str(data))
    assert (found.plans, found.parses) == (1, 2)


def test_what_the_solver_chose_costs_one_plan_more_to_compare_with(rows: str, tmp_path: Path) -> None:
    words = ("launch", "--preset", "cpu-tiny", "--data", rows, "--set", "micro_batch_size=1")
    assert count(tmp_path, *words).plans == 2


@pytest.mark.parametrize("backend", ["axolotl", "unsloth"])
def test_an_edited_config_parses_each_row_twice(backend: str, rows: str, tmp_path: Path) -> None:
    """The rows of ``--data``, and those that the config names; they were parsed 9.6 times."""
    exported = count(tmp_path, "export", "--preset", "cpu-tiny", "--backend", backend, "--data", rows, "-o", "mine")
    assert (exported.plans, exported.parses) == (1, 2)
    words = ("launch", "--preset", "cpu-tiny", "--config", "mine/config.yaml")
    for more in (("--data", rows), ()):
        found = count(tmp_path, *words, *more)
        assert found.parses <= 2, more
        assert found.reads == 1
        assert found.plans == 1, "what ql would have planned, for the report to compare with"


def test_every_other_path_too(rows: str, tmp_path: Path) -> None:
    for words in (
        ("estimate", "--preset", "a10g-7b", "--data", rows),
        ("init", "--data", rows, "--gpu", "cpu", "--yes"),
        ("check", rows, "--show", "200"),
    ):
        found = count(tmp_path, *words)
        assert found.parses <= 2, words
        assert found.reads <= 1, words
    count(tmp_path, "export", "--preset", "cpu-tiny", "--backend", "axolotl", "--data", rows, "-o", "mine")
    found = count(tmp_path, "validate", "mine/config.yaml", "--with-data")
    assert (found.parses, found.reads) == (1, 1)


def test_planning_and_forecasting_read_no_file(tmp_path: Path) -> None:
    code = """
import sys
from launcher.planning.decide import make_plan
from launcher.planning.forecast import compare, forecast
from launcher.preparing.request import make_request
from launcher.preparing.workload import with_rows
from launcher.catalog import list_gpus, load_gpu
from launcher.trainers import all_trainers
request = with_rows(make_request(gpu="a10g", model="mistral-7b", method="auto", backend="auto"), 5000, 300)
cards = [load_gpu(name) for name in list_gpus()]
for trainer in all_trainers():
    trainer.terms, trainer.speed, trainer.codec  # the trainers' rooms are imported before
forecast(make_plan(request), request, details=True)
opened = []
sys.addaudithook(lambda event, arguments: opened.append(arguments[0]) if event == "open" else None)
forecast(make_plan(request), request, details=True)
compare(request, cards)
sys.exit(f"read {opened}" if opened else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
