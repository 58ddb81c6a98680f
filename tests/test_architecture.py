"""The shape of the package: imports point down one list, the start is light, files stay small."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "launcher"

# From the command line down to the errors; a module imports only what stands on a lower line (or its own).
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"__main__"}),
    frozenset({"cli"}),
    frozenset({"places"}),
    frozenset({"runs"}),
    frozenset({"preparing"}),
    frozenset({"jobs"}),
    frozenset({"merge"}),
    frozenset({"report"}),
    frozenset({"golden"}),
    frozenset({"configs"}),
    frozenset({"planning"}),
    frozenset({"trainers"}),
    frozenset({"processes"}),
    frozenset({"rules"}),
    frozenset({"sizing"}),
    frozenset({"data"}),
    frozenset({"catalog"}),
    frozenset({"yaml_source", "json_schema"}),
    frozenset({"records"}),
    frozenset({"errors", "resources", "files"}),
)
HEAVY = ("torch", "transformers", "peft", "bitsandbytes", "axolotl", "unsloth", "datasets", "safetensors", "numpy")
# Run by the trainer's python only, through launcher/jobs/worker.py or on the trainer's path.
TORCH_SIDE = ("jobs", "inject")
MAX_LINES = 400

MODULES = sorted(PACKAGE.rglob("*.py"))


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "launcher"


def imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [
                f"{node.module}.{alias.name}" if node.module == "launcher" else node.module for alias in node.names
            ]
    return names


def depth(name: str) -> int:
    return next(index for index, layer in enumerate(LAYERS) if name in layer)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    place = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if place == "__init__" or "inject" in path.relative_to(PACKAGE).parts:
        assert not [name for name in imports(path) if name.startswith("launcher")]
        return
    for name in imports(path):
        if name.startswith("launcher.") and room(name) != "__version__":
            assert depth(room(name)) >= depth(place), f"{path.relative_to(ROOT)} imports {name}, which stands above it"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_torch_side_imports_torch(path: Path) -> None:
    relative = path.relative_to(PACKAGE).as_posix()
    if relative.split("/")[0] in TORCH_SIDE or "/inject/" in relative:
        return
    assert not [name for name in imports(path) if name.split(".")[0] in HEAVY]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_of_the_host_imports_a_job(path: Path) -> None:
    """A job is asked through `launcher.records.jobs` and the pipe; what both sides use is a record."""
    if path.relative_to(PACKAGE).parts[0] != "jobs":
        assert not [name for name in imports(path) if room(name) == "jobs"]


def test_each_module_of_jobs_belongs_to_a_registered_job() -> None:
    """Reached from the module that a job of `JOBS` names, or from the worker that runs it."""
    from launcher.records.jobs import JOBS

    modules = {module_name(path): path for path in MODULES if path.relative_to(PACKAGE).parts[0] == "jobs"}
    reached, left = set(), ["launcher.jobs.worker", *(job.module for job in JOBS.values())]
    assert set(left) <= set(modules), "a registered job without its module"
    while left:
        name = left.pop()
        if name in reached or name not in modules:
            continue
        reached.add(name)
        left += [name.rpartition(".")[0], *members(modules[name])]
    assert set(modules) == reached


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def members(path: Path) -> list[str]:
    """What a module imports of launcher, with ``from launcher.x import y`` as both x and x.y."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


@pytest.mark.parametrize(
    "path",
    [*MODULES, *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "templates").glob("*.py"))],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_files_are_short_enough_to_read(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


LATE = frozenset({"jsonschema", "jinja2", "rich", "tokenizers", "torch", "asyncio"})
EXPORTED = ROOT / "docs" / "examples" / "edited.yaml"


@pytest.mark.parametrize(
    ("words", "late"),
    [(["--help"], LATE | {"yaml"}), (["validate", str(EXPORTED)], LATE | {"csv", "gzip"})],
    ids=["help", "validate"],
)
def test_the_command_line_starts_without_heavy_imports(words: list[str], late: frozenset[str]) -> None:
    code = (
        f"import sys\nfrom launcher.cli.main import main\ntry: main({words})\nexcept SystemExit: pass\n"
        f"late = {set(late)} & set(sys.modules)\nsys.exit(f'imported for {words[0]}: {{late}}' if late else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


MOST_UNTYPED = 76  # lines: a quarter of what there were once; a record, a TypedDict or `object` says more


def test_few_mappings_hold_anything() -> None:
    said = [line for path in MODULES for line in path.read_text(encoding="utf-8").splitlines()]
    assert sum("dict[str, Any]" in line for line in said) <= MOST_UNTYPED


ONE_OF_A_KIND = [path for path in MODULES if "trainers" not in path.parts[:-2] and "inject" not in path.parts]
ALIKE = (PACKAGE / "cli", PACKAGE / "jobs")  # a verb's module is called as the verb, a job's as the job


def test_two_things_never_share_a_name() -> None:
    """A reader who finds `Card` or facts.py has found the one there is. The trainers' rooms are alike on purpose."""
    defined = [
        node.name
        for path in ONE_OF_A_KIND
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    ]
    assert [name for name, count in Counter(defined).items() if count > 1] == []
    files = Counter(path.name for path in MODULES if path.parent not in ALIKE)
    assert [name for name in ("facts.py", "prepare.py", "job.py", "chat.py") if files[name] > 1] == []


TRAINERS = sorted(path.parent.name for path in PACKAGE.glob("trainers/*/describe.py"))
ROOMS = (PACKAGE / "trainers", ROOT / "templates")
# What is no trainer's own: the Python of launcher/, and the templates that every trainer's runs use.
SHARED = [
    path
    for path in (*MODULES, *sorted(path for path in (ROOT / "templates").rglob("*") if path.is_file()))
    if not any(path.is_relative_to(place / name) for place in ROOMS for name in TRAINERS)
]


@pytest.mark.parametrize("path", SHARED, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_trainer_is_named_in_its_own_room_alone(path: Path) -> None:
    """Comments and docstrings included: what the field adds every month is a folder, and no edit elsewhere."""
    words = path.read_text(encoding="utf-8").casefold()
    assert [name for name in TRAINERS if name in words] == []


def test_there_are_rooms_to_look_at() -> None:
    assert len(TRAINERS) >= 2
    assert len(SHARED) > 200


# Libraries whose versions may look like a trainer's: where one is named on a line or beside it, the number is its own.
LIBRARIES = ("trackio", "peft")


def test_no_release_of_a_trainer_is_numbered_outside_its_room() -> None:
    """Else the next release would be more than an entry. Versions that count in years are no numbers of code."""
    from launcher.trainers import all_trainers

    releases = [release for trainer in all_trainers() for release in trainer.releases if release.version[0] < 1000]
    assert len(releases) >= 5
    minors = "|".join(str(release.version[1]) for release in releases)
    majors = "|".join(sorted({str(release.version[0]) for release in releases}))
    number = re.compile(rf"(?<![\w.])({majors})\.({minors})(\.\d+)?(?![\d\w])|\(({majors}), *({minors})\)")
    found = []
    for path in SHARED:
        lines = path.read_text(encoding="utf-8").splitlines()
        for index, line in enumerate(lines):
            around = "\n".join(lines[max(0, index - 1) : index + 2]).casefold()
            if number.search(line) and not any(name in around for name in LIBRARIES):
                found.append(f"{path.relative_to(ROOT)}:{index + 1}: {line.strip()}")
    assert found == []
