"""Are base and adapter what they are called? Said before their files are read, with what would be right."""

from __future__ import annotations

from pathlib import Path

from launcher.errors import Problem, Unreadable

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


def require_places(base: Path, adapter: Path) -> None:
    """Raises Unreadable where a folder is missing, where the two are swapped, or where what was named holds one."""
    problems = []
    if _is_adapter(base) and _is_model(adapter):
        what = f"this is an adapter, and {adapter} is a model: base and adapter are swapped"
        raise Unreadable(Problem(what, str(base), hint=f"--base {adapter} --adapter {base}"))
    if not base.is_dir():
        problems.append(_no_folder(base, "the base model"))
    elif not _is_model(base):
        what = f"no config.json in this folder: not a model{', but an adapter' if _is_adapter(base) else ''}"
        problems.append(Problem(what, str(base), hint=_inside(base, "config.json")))
    if not adapter.is_dir():
        problems.append(_no_folder(adapter, "the adapter"))
    elif not _is_adapter(adapter):
        kind = "a whole model: there is nothing to merge" if _is_model(adapter) else "not a PEFT adapter"
        what = f"no {CONFIG} in this folder: {kind}"
        problems.append(Problem(what, str(adapter), hint=_inside(adapter, CONFIG)))
    if problems:
        raise Unreadable(problems)


def _no_folder(path: Path, what: str) -> Problem:
    name = str(path)
    on_hub = name.count("/") == 1 and not name.startswith((".", "/", "~"))
    hint = f"of the hub: `hf download {name}`, and name the folder that it prints" if on_hub else None
    return Problem(f"no such folder, for {what}", name, hint=hint)


def _is_adapter(folder: Path) -> bool:
    return (folder / CONFIG).is_file()


def _is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def _inside(folder: Path, name: str) -> str | None:
    """The folders one level below that have the file: a run's adapter, a trainer's checkpoints."""
    found = sorted(path.parent for path in folder.glob(f"*/{name}"))
    return f"it is in {', '.join(str(path) for path in found[:3])}: name one of these" if found else None
