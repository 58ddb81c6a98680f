"""Where Axolotl's data loader finds no rows, or those of another folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from launcher.rules.base import Hit
from launcher.trainers.axolotl.config import AxolotlConfig, rule
from launcher.trainers.axolotl.config_file import LOCAL, named_files
from launcher.trainers.axolotl.describe import TRAINER


@rule("QL806", "warning")
def folder_that_is_a_pattern(c: AxolotlConfig) -> Iterator[Hit]:
    """Relative data in a folder whose path Axolotl takes for a pattern or a variable.

    Its data loader expands the whole path of a file, also `[1]`, `*`, `?` and `$NAME` in the folders above: it finds
    nothing there, or the rows of another folder.
    """
    fault = TRAINER.folder_fault(str(c.place)) if c.place else None
    if not fault:
        return
    for key in ("datasets", "test_datasets"):
        for index, data_set in c.datasets(key):
            on_hub = "/" in str(data_set.get("path"))  # then its data_files are there too
            for part, name in named_files(data_set):
                if name.endswith(LOCAL) and not Path(name).is_absolute() and not (on_hub and part == "data_files"):
                    yield c.at((key, index, part), f"{fault}: {c.place}", "move the folder, or the data, elsewhere")
                    return  # it holds for all of them
