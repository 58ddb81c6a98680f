"""The job file: read with all problems at once, checked by `ql validate`, used in full by `ql launch`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from launcher.cli.main import main
from launcher.configs.validate import check_text
from launcher.data.read_as import ReadAs
from launcher.errors import Unreadable
from launcher.json_schema import load_schema
from launcher.preparing.job_file import JobFile, read_job
from launcher.runs import launch as launching

FULL: dict[str, Any] = {
    "preset": "cpu-tiny", "gpu": "cpu", "model": "cpu-tiny", "method": "qlora", "backend": "unsloth",
    "data": "tickets.jsonl", "golden": "golden.jsonl", "gates": ["exact_match>=0.5"], "allow_overlap": True,
    "map": {"question": "prompt"}, "thoughts": "drop",
    "settings": {"lora_r": 8, "keep": "last"}, "base_mode": "original", "merge": False, "cap": False,
    "track": ["tensorboard"], "trainer_python": "/elsewhere/python",
}  # fmt: skip


def written(folder: Path, job: dict[str, Any] | str) -> Path:
    path = folder / "job.yaml"
    path.write_text(job if isinstance(job, str) else yaml.safe_dump(job, sort_keys=False))
    return path


def test_schema_and_class_know_the_same_keys() -> None:
    assert set(load_schema("job")["properties"]) == {field.name for field in fields(JobFile)} == set(FULL)


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    job = read_job(written(tmp_path, FULL))
    assert job.data == tmp_path / "tickets.jsonl"
    assert job.golden == tmp_path / "golden.jsonl"


def test_launch_uses_every_key(tmp_path: Path, golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reaches the launch; the run itself is tests/acceptance's."""
    heard: dict[str, Any] = {}

    def stop(prepared: Any, options: Any, *_: Any) -> None:
        heard.update(prepared=prepared, options=options)
        raise Unreadable("heard")

    monkeypatch.setattr(launching, "create", stop)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(f'{{"question": "q {n}", "completion": "a {n}"}}\n' for n in range(40)))
    path = written(tmp_path, FULL | {"data": str(rows), "golden": str(golden)})
    assert CliRunner().invoke(main, ["launch", str(path)]).exit_code == 2
    plan, options = heard["prepared"].plan, heard["options"]
    assert (plan.preset, plan.gpu, plan.model, plan.method, plan.backend) == (
        "cpu-tiny", "cpu", "cpu-tiny", "qlora", "unsloth",
    )  # fmt: skip
    assert (plan.lora_r, plan.keep) == (8, "last")
    assert heard["options"].asked.allow_overlap
    assert heard["options"].asked.read_as == ReadAs({"question": "prompt"}, "drop")
    assert [gate.text for gate in heard["prepared"].gates] == ["exact_match>=0.5"]
    assert (options.base_mode, options.merge, options.cap) == ("original", False, False)
    assert (options.track, options.trainer_python) == (("tensorboard",), "/elsewhere/python")
    more = ["--set", "lora_r=4", "--base", "dequantized", "--track", "wandb", "--trainer-python", "p"]
    CliRunner().invoke(main, ["launch", str(path), *more])
    assert heard["prepared"].plan.lora_r == 4
    assert heard["prepared"].plan.keep == "last", "other settings of the file stay"
    options = heard["options"]
    assert (options.base_mode, options.track, options.trainer_python) == ("dequantized", ("wandb",), "p")


def test_all_problems_at_once_with_their_lines(tmp_path: Path) -> None:
    path = written(tmp_path, "preset: cpu-tiny\ndaat: x\nmerge: 3\nsettings:\n  lora_rank: 2\n")
    with pytest.raises(Unreadable) as caught:
        read_job(path)
    found = {problem.line: problem.message for problem in caught.value.problems}
    assert "unknown key 'daat'" in found[2]
    assert "merge" in found[3]
    assert "lora_rank" in found[5]
    assert any("the key data is missing" in problem.message for problem in caught.value.problems)
    for text in ("- a\n- b\n", "a: [", ""):
        with pytest.raises(Unreadable):
            read_job(written(tmp_path, text))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"preset": "a10g-7c"}, "QL951"),
        ({"gpu": "a10"}, "QL951"),
        ({"golden": None}, "QL952"),
        ({"data": "nowhere.jsonl"}, "QL953"),
        ({"preset": None, "model": None}, "QL954"),
        ({"settings": {"lora_rank": 8}}, "QL101"),
        ({"track": ["wandbd"]}, "QL103"),
        ({"map": {"question": "promt"}}, "QL103"),
        ({"map": {"question": ["prompt"]}}, "QL103"),
        ({"map": {"question": None}}, "QL103"),
        ({"gates": ["exact_match"]}, "QL106"),
    ],
)
def test_validate_knows_the_kind_and_finds(
    tmp_path: Path, tickets: Path, golden: Path, change: dict[str, Any], code: str
) -> None:
    good = FULL | {"data": str(tickets), "golden": str(golden)}
    path = written(tmp_path, good)
    assert check_text(path.read_text(), file=str(path), with_data=True) == []
    job = {key: value for key, value in (good | change).items() if value is not None}
    path = written(tmp_path, job)
    codes = [finding.code for finding in check_text(path.read_text(), file=str(path), with_data=True)]
    assert code in codes, codes


@pytest.mark.parametrize(
    ("name", "text", "option"),
    [
        ("rows.jsonl", '{"text": "a"}\n{"text": "b"}\n', "--data"),
        ("config.yml", "base_model: org/x\nadapter: qlora\ndatasets: []\n", "--config"),
        ("config.yml", "base_model: org/x\ntrain_file: rows.jsonl\n", "--config"),
    ],
)
def test_what_is_no_job_is_told_with_the_option_that_takes_it(
    tmp_path: Path, name: str, text: str, option: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(Unreadable) as caught:
        read_job(tmp_path / name)
    (problem,) = caught.value.problems
    assert "it is no job file" in problem.message
    assert (problem.hint or "").startswith(f"{option} ")


def test_the_first_line_says_that_it_is_a_job(tmp_path: Path) -> None:
    """Without it, a file that lacks preset and card would be taken for a trainer's config."""
    found = check_text("# ql: job\ndata: x.jsonl\n", file="some.yaml")
    assert [finding.code for finding in found] == ["QL954"]


def test_a_launch_without_data_says_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["launch", "--preset", "cpu-tiny"])
    assert result.exit_code == 2
    assert "--data" in result.output
    result = CliRunner().invoke(main, ["launch", str(tmp_path / "none.yaml")])
    assert result.exit_code == 2
    assert "none.yaml" in result.output


def test_a_job_that_says_a_thing_twice_and_differently_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "preset: cpu-tiny\ndata: x\nbackend: auto\nsettings:\n  backend: unsloth\n")
    with pytest.raises(Unreadable) as caught:
        read_job(path)
    [problem] = caught.value.problems
    assert problem.line == 5
    assert problem.message == "settings.backend unsloth and backend auto contradict each other"


@pytest.mark.parametrize(
    ("in_file", "given", "method", "backend"),
    [
        (
            {"method": "auto", "backend": "auto"},
            ["--set", "method=qlora", "--set", "backend=axolotl"],
            "qlora",
            "axolotl",
        ),
        (
            {"settings": {"method": "lora", "backend": "unsloth"}},
            ["--method", "auto", "--backend", "auto"],
            "auto",
            "auto",
        ),
    ],
)
def test_an_option_wins_over_the_file_however_each_says_it(
    in_file: dict[str, Any], given: list[str], method: str, backend: str, tmp_path: Path, tickets: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    heard: list[Any] = []

    def stop(asked: Any, find_card: Any, **options: Any) -> None:
        heard.append(asked.request())
        raise Unreadable("heard")

    monkeypatch.setattr("launcher.preparing.prepare.prepare_asked", stop)
    path = written(tmp_path, {"preset": "h100-7b", "data": str(tickets)} | in_file)
    CliRunner().invoke(main, ["launch", str(path), *given])
    [request] = heard
    assert request.overrides.get("method", "auto" if request.auto_method else None) == method
    assert request.overrides.get("backend", "auto" if request.auto_backend else None) == backend
    assert (request.auto_method, request.auto_backend) == (method == "auto", backend == "auto")


def test_a_base_and_a_python_of_a_job_lie_beside_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, {"gpu": "cpu", "model": "./base", "data": "x", "trainer_python": "venv/bin/python"})
    monkeypatch.chdir(tmp_path.parent)
    job = read_job(Path(tmp_path.name) / path.name)
    assert (job.model, job.trainer_python) == (str(tmp_path / "base"), str(tmp_path / "venv/bin/python"))
    job = read_job(written(tmp_path, {"gpu": "cpu", "model": "org/base", "data": "x", "trainer_python": "python3"}))
    assert (job.model, job.trainer_python) == ("org/base", "python3")


def test_a_python_that_is_named_by_a_relative_path_is_launched_by_its_whole_one(
    tmp_path: Path, tickets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trainer is started in the run's folder, where a relative path would name nothing."""
    heard: list[str] = []

    def stop(prepared: Any, options: Any, *_: Any) -> None:
        heard.append(options.trainer_python)
        raise Unreadable("heard")

    monkeypatch.setattr(launching, "create", stop)
    monkeypatch.chdir(tmp_path)
    for name in ("venv/bin/python", "python3"):
        asked = ["launch", "--preset", "cpu-tiny", "--data", str(tickets), "--trainer-python", name]
        CliRunner().invoke(main, asked)
    assert heard == [str(tmp_path / "venv/bin/python"), "python3"]
