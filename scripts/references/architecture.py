"""docs/assets/architecture.svg: the rooms of the package in their layers, as tests/test_architecture.py holds them."""

from __future__ import annotations

import ast
import html
import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WIDTH, ROW, LEFT, BOX = 860, 46, 18, 168
STYLE = """
text { font: 14px system-ui, sans-serif; fill: #1b1f24; } .soft { fill: #57606a; font-size: 12.5px; }
.room { fill: #e6f2f1; stroke: #2f7d78; } .torch { fill: #fdf0dc; stroke: #a86a10; }
.line { stroke: #8c959f; fill: none; }
.paper { fill: #ffffff; }
@media (prefers-color-scheme: dark) { text { fill: #e6e6e6; } .soft { fill: #9aa4af; } .room { fill: #12312f; }
.torch { fill: #38290f; } .paper { fill: #14181d; } }
"""


def architecture() -> str:
    """One row for each room: its name, in the colour of the python that it runs in, and what its package says it is."""
    shape = runpy.run_path(str(ROOT / "tests" / "test_architecture.py"))
    rooms = [room for layer in shape["LAYERS"] for room in sorted(layer) if (ROOT / "launcher" / room).is_dir()]
    torch = {place.partition("/")[0] for place in shape["TORCH_SIDE"] if "/" not in place}
    height = ROW * (len(rooms) + 3) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"',
        ' aria-label="The rooms of ql and their layers">',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{height}" rx="6"/>',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="4" refY="7" markerWidth="7" markerHeight="7">'
        '<path d="M0 0 L4 8 L8 0" class="line"/></marker></defs>',
        f'<text x="{LEFT}" y="26" class="soft">imports point down only; each room is a folder of launcher/</text>',
    ]
    for index, room in enumerate(rooms):
        top = 36 + index * ROW
        parts += _row(top, room, _says(room), room in torch)
        if index + 1 < len(rooms):
            parts.append(f'<path class="line" d="M{LEFT + BOX / 2:g} {top + 34} v{ROW - 36}" marker-end="url(#tip)"/>')
    bottom = 36 + len(rooms) * ROW
    parts += _row(
        bottom + 14,
        "inject",
        "Put on the trainer's path, alone: telemetry, and the record of what was quantised.",
        True,
    )
    parts.append(f'<rect x="{LEFT}" y="{bottom + 76}" width="14" height="14" class="room"/>')
    parts.append(
        f'<text x="{LEFT + 22}" y="{bottom + 88}" class="soft">the launcher\'s python: core install, no torch</text>'
    )
    parts.append(f'<rect x="{LEFT + 330}" y="{bottom + 76}" width="14" height="14" class="torch"/>')
    parts.append(
        f'<text x="{LEFT + 352}" y="{bottom + 88}" class="soft">the trainer\'s python: the jobs, by worker.py</text>'
    )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _says(room: str) -> str:
    tree = ast.parse((ROOT / "launcher" / room / "__init__.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n\n")[0].replace("\n", " ").replace("`", "")


def _row(top: int, room: str, says: str, torch: bool) -> list[str]:
    kind = "torch" if torch else "room"
    words, lines = says.split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) > 92:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    first = top + (22 if len(lines) == 1 else 14)
    return [
        f'<rect x="{LEFT}" y="{top}" width="{BOX}" height="34" rx="5" class="{kind}"/>',
        f'<text x="{LEFT + 12}" y="{top + 22}">{room}/</text>',
        *(
            f'<text x="{LEFT + BOX + 18}" y="{first + 16 * index}" class="soft">{html.escape(line)}</text>'
            for index, line in enumerate(lines)
        ),
    ]
