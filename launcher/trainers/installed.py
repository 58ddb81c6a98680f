"""Which release of a trainer an environment has, by the metadata of its distribution: nothing of it is imported."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from launcher.errors import Problem, Unreadable
from launcher.trainers.releases import read_version

if TYPE_CHECKING:
    from launcher.rules.base import Version

_ASK = """
import sys
from importlib.metadata import PackageNotFoundError, version
for name in sys.argv[1:]:
    try:
        print(name, version(name))
    except PackageNotFoundError:
        pass
"""
_SECONDS = 30


def here(distribution: str) -> Version | None:
    """The release in the environment that ql itself runs in; None where it has none.

    The folders of the path are listed: `importlib.metadata` takes longer to import than a file takes to check.
    """
    name = re.compile(rf"{re.escape(distribution)}-([\w.]+)\.dist-info")
    for folder in sys.path:
        try:
            entries = os.listdir(folder or ".")  # noqa: PTH208 - Path.iterdir makes an object of each
        except OSError:
            continue
        found = next(filter(None, map(name.fullmatch, entries)), None)
        if found is not None:
            return read_version(found[1])
    return None


def there(python: str, distributions: Sequence[str]) -> dict[str, Version]:
    """The releases in the environment of ``python``, by distribution. Raises Unreadable when it cannot be run."""
    import subprocess  # slow to import, and mostly nobody names a python

    try:
        done = subprocess.run(
            [python, "-c", _ASK, *distributions], capture_output=True, text=True, timeout=_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "strerror", None) or "it is no python, or does not answer"
        hint = "--trainer-python names the python of the environment that has the trainer"
        raise Unreadable(Problem(f"cannot run {python}: {said}", hint=hint)) from None
    found = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    return {name: version for name, text in found.items() if (version := read_version(text)) is not None}
