"""Write the pages that are made from the program, and the outputs that the pages show.

python scripts/make_references.py            # all of it but what trains a model (about a minute)
python scripts/make_references.py --slow     # what trains a model too
python scripts/make_references.py --slow docs/tutorial.md
python scripts/make_references.py --check    # write nothing; exit 1 and name what is out of date
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable
from pathlib import Path

from references.architecture import architecture
from references.benchmarks import benchmark_pages
from references.blocks import pages, refreshed
from references.catalog import presets_page
from references.commands import commands_page
from references.errors import errors_page
from references.presets_proof import preset_pages
from references.releases import releases_page
from references.schemas import schemas_page

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
PICTURE = ROOT / "docs" / "assets" / "architecture.svg"
PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "schemas.md": schemas_page,
    "errors.md": errors_page,
    "presets.md": presets_page,
    "releases.md": releases_page,
}


def wanted() -> dict[Path, str]:
    """Every generated file with the text that it should have."""
    made = {REFERENCE / name: make() for name, make in PAGES.items()}
    return {**made, PICTURE: architecture(), **benchmark_pages(), **preset_pages()}


def out_of_date(texts: dict[Path, str]) -> list[str]:
    """A diff for each file that is not what it should be."""
    found = []
    for path, text in texts.items():
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        if before != text:
            name = str(path.relative_to(ROOT))
            found.append(
                "".join(difflib.unified_diff(before.splitlines(True), text.splitlines(True), name, "now", n=0))
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is out of date")
    parser.add_argument("--slow", action="store_true", help="run the blocks that train a model as well")
    parser.add_argument("pages", nargs="*", type=Path, help="only the outputs of these pages")
    options = parser.parse_args()
    texts = {} if options.pages else wanted()
    if options.check:
        found = out_of_date(texts)
        sys.exit("\n".join([*found, "out of date: run `make references`"]) if found else 0)
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for path in [page.resolve() for page in options.pages] or pages():
        path.write_text(refreshed(path, slow=options.slow), encoding="utf-8")


if __name__ == "__main__":
    main()
