"""Hooks of the site: README's neighbours are pages too, and what is no page of the site becomes plain text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'^--8<-- "([\w.]+)"$', re.MULTILINE)
OUTSIDE = re.compile(r"\[([^\]]+)\]\((\.\./(?!docs/)[^)#\s]*)\)")


def on_config(config: Any) -> Any:
    """Keep those entries of the navigation whose page exists: two are written by hand only when there is something."""
    docs = Path(config["docs_dir"])

    def there(entry: Any) -> Any:
        if isinstance(entry, dict):
            ((title, target),) = entry.items()
            if isinstance(target, list):
                return {title: [kept for item in target if (kept := there(item))]}
            return entry if (docs / target).is_file() else None
        return entry

    config["nav"] = [kept for entry in config["nav"] if (kept := there(entry))]
    return config


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """A link to a file of the repository that is no page, such as ../schemas/golden.json, is shown as its path."""
    markdown = INCLUDE.sub(lambda match: _neighbour(ROOT / match[1]), markdown)
    depth = len(Path(page.file.src_uri).parts) - 1

    def plain(match: re.Match[str]) -> str:
        target = match[2]
        if target.count("../") <= depth:  # still inside docs/
            return match[0]
        path = target.replace("../", "")
        return f"`{path}`" if match[1].strip("`") == path else f"{match[1]} (`{path}`)"

    return OUTSIDE.sub(plain, markdown)


def _neighbour(path: Path) -> str:
    """A page that stands beside docs/: its links into docs/ become the site's own, others plain text."""
    text = path.read_text(encoding="utf-8").replace("](docs/", "](")
    return re.sub(r"\[([^\]]+)\]\((?!https?:|#|[\w/-]+\.(?:md|svg|png|html))[^)]+\)", r"\1", text)
