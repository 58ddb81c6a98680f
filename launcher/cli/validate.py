"""``ql validate``: check configs, with the line and the fix."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.cli.words import VERDICT, examples
from launcher.configs.formats import FORMATS
from launcher.errors import Unreadable
from launcher.rules.base import OWN_KINDS
from launcher.trainers import all_trainers, trainer_names

if TYPE_CHECKING:
    from launcher.sizing import Correction

SUFFIXES = (".yaml", ".yml")
STDIN = "-"


def version_options(command: Callable[..., None]) -> Callable[..., None]:
    """``--NAME-version X.Y`` for each trainer of which ql knows several releases."""
    for trainer in reversed(all_trainers()):
        if len(trainer.releases) > 1:
            text = f"--trainer-version, for {trainer.title} alone."
            command = click.option(f"--{trainer.name}-version", metavar="X.Y", help=text)(command)
    return command


@click.command(
    epilog=examples(
        "ql validate config.yaml",
        "ql validate configs/ --strict --gpu a10g --format github",
        "ql validate --explain QL713",
    )
)
@click.argument("files", nargs=-1, metavar="FILE…")
@click.option("--format", "output", type=click.Choice(tuple(FORMATS)), default="text", help="How findings are printed.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--kind",
    type=click.Choice((*trainer_names(), *OWN_KINDS)),
    help="What the files are; told from their content where it is not given.",
)
@click.option(
    "--trainer-python",
    metavar="PATH",
    help="Check against the release of the trainer that this python's environment has.",
)
@click.option(
    "--trainer-version",
    metavar="X.Y",
    help="Check against this release of the trainer; default: what ql's own environment has, else what the file's "
    "header says, else the newest.",
)
@version_options
@click.option("--gpu", metavar="CARD", help="Check for this card of `ql presets`: its dtypes, its kernels, its memory.")
@click.option("--with-data", is_flag=True, help="Read the data files as well.")
@click.option(
    "--golden", type=click.Path(path_type=Path), help="Look for the rows of this golden set in the training data."
)
@click.option("--select", multiple=True, metavar="CODE", help="Only these codes, or those that begin so (QL3).")
@click.option("--ignore", multiple=True, metavar="CODE", help="Not these codes, or those that begin so.")
@click.option("--strict", is_flag=True, help="Warnings fail too.")
@click.option(
    "--fix", is_flag=True, help="Apply the safe repairs: renames and successors. The rest stays byte for byte."
)
@click.option(
    "--explain", metavar="CODE", help="Print what a code means, and nothing else; QL7 lists those that begin so."
)
@click.option("--all", "everything", is_flag=True, help="Print every finding, not the first 20 of a code.")
@click.option("--skip-unknown", is_flag=True, help="Leave files alone that do not say what they are.")
@click.option("--quiet", is_flag=True, help="Leave out notes.")
def command(
    files: tuple[str, ...],
    output: str,
    as_json: bool,
    kind: str | None,
    trainer_python: str | None,
    trainer_version: str | None,
    gpu: str | None,
    with_data: bool,
    golden: Path | None,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    strict: bool,
    fix: bool,
    explain: str | None,
    everything: bool,
    skip_unknown: bool,
    quiet: bool,
    **versions: str | None,
) -> None:
    """Check training configs, presets and golden sets: files, folders, globs, or - for standard input.

    Exits 0 when nothing is wrong, 1 for a finding of severity error (or warning, with --strict), 2 for a file that
    cannot be read.
    """
    from launcher.configs.check_files import Selection, check_files
    from launcher.configs.releases import named_releases

    if explain:
        from launcher.configs.catalogue import explain as page
        from launcher.configs.catalogue import listing

        click.echo(listing(explain) or page(explain).text(), nl=False)
        return
    if not files:
        raise click.UsageError("give the files to check, or - for standard input")
    selection = Selection(select, ignore, quiet)
    of_each = {name.removesuffix("_version"): text for name, text in versions.items() if text}
    checked = check_files(
        [(name, text, exact and not skip_unknown) for name, text, exact in sources(files)],
        kind=kind,
        versions=named_releases(trainer_python, trainer_version, of_each),
        gpu=gpu,
        corrections=_corrections(gpu) if gpu else None,
        with_data=with_data,
        golden=golden,
        selection=selection,
        fix=fix,
    )
    code = checked.exit_code(strict=strict)
    click.get_current_context().meta[VERDICT] = code
    if STDIN in files and fix:
        click.echo(checked.fixed_stdin, nl=False)
    else:
        name = "json" if as_json else output
        colour = name == "text" and sys.stdout.isatty()
        write = FORMATS[name]
        most = {"most": None} if everything else {}
        click.echo(write(checked.findings, checked.sources, checked.files, colour=colour, **most), nl=False)
    if checked.fixed:
        click.echo(f"fixed {checked.fixed}", err=True)
    sys.exit(code)


def _corrections(gpu: str) -> dict[str, Correction]:
    """What a calibration of this machine says of the card; none for a name that is not known, which is said later."""
    from launcher.catalog import list_gpus, load_gpu
    from launcher.preparing.calibrations import memory_corrections

    return memory_corrections(load_gpu(gpu)) if gpu in list_gpus() else {}


def sources(names: Sequence[str]) -> Iterator[tuple[str, bytes | None, bool]]:
    """(name, text or None when it must be read, whether the person named this very file) of what is to be checked.

    Raises Unreadable for a pattern that matches nothing and a folder with no YAML file in it.
    """
    seen: set[str] = set()
    for name in names:
        if name == STDIN:
            yield "<stdin>", sys.stdin.buffer.read(), True
            continue
        path = Path(name)
        exact = not path.is_dir() and (path.exists() or not any(letter in name for letter in "*?["))
        found = [name] if exact else sorted(map(str, in_folder(path) if path.is_dir() else glob(name)))
        if not found:
            raise Unreadable(f"no YAML file in {name}" if path.is_dir() else f"nothing matches {name}")
        for item in found:
            if item not in seen:
                seen.add(item)
                yield item, None, exact


def in_folder(folder: Path) -> Iterator[Path]:
    """The YAML files under a folder; hidden folders and virtual environments are left out."""
    import os

    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in ("node_modules", "venv")]
        yield from (Path(root, name) for name in names if name.endswith(SUFFIXES))


def glob(pattern: str) -> Iterator[Path]:
    """The files that a pattern names, ``**`` included."""
    path = Path(pattern)
    root = Path(path.anchor) if path.anchor else Path()
    relative = path.relative_to(path.anchor) if path.anchor else path
    yield from (found for found in root.glob(str(relative)) if found.is_file())
