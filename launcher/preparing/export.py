"""Write a prepared run's files into a folder of the person's choice: all of them, or none."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from launcher.errors import Unreadable
from launcher.preparing.prepared import Prepared
from launcher.resources import resource
from launcher.trainers import get_trainer


def export(prepared: Prepared, folder: Path) -> list[str]:
    """Write config, script, template, data and the config's schema into ``folder``; the relative names, sorted.

    The schema is for editors: the first line of config.yaml names it.

    A folder that has a file of one of these names is refused (Unreadable) rather than overwritten: it may hold edits.
    """
    schema = get_trainer(prepared.plan.backend).schema
    taken = [name for name in (*prepared.files, schema, "data") if (folder / name).exists()]
    if taken:
        raise Unreadable(
            f"{folder} already has {', '.join(taken)}: not overwritten", hint="name an empty folder with -o"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".ql-export-", dir=folder) as scratch:
            prepared.write(Path(scratch))
            shutil.copyfile(resource("schemas", schema), Path(scratch) / schema)
            written = sorted(
                path.relative_to(scratch).as_posix() for path in Path(scratch).rglob("*") if path.is_file()
            )
            for entry in sorted(Path(scratch).iterdir()):
                shutil.move(str(entry), folder / entry.name)
    except OSError as error:
        raise Unreadable(f"cannot write to {folder}: {error.strerror or error}") from None
    return written
