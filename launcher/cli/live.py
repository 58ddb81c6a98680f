"""The live view of a run on a terminal, with rich: what `launcher.cli.watch` knows, laid out for the width there is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.table import Table
from rich.text import Text

from launcher.cli.glyphs import bar, spark
from launcher.cli.text import duration

if TYPE_CHECKING:
    from launcher.cli.watch import RunWatch, StageView

NARROW = 60  # columns; below, one short line for each thing
MIDDLE = 76  # columns; below, curves and bars are half as long
WIDE = 100  # columns; from here on, two things in a line
SHORT = 12  # lines of a terminal; below, the narrow form too
LONG = ("memory", "time", "money")  # have a line of their own everywhere: nothing moves when their words grow
MESSAGES = 4  # newest warnings and repairs that stay in view
_MARKS = {"done": ("✓", "+"), "running": ("▸", ">"), "failed": ("✗", "x"), "stopped": ("■", "x"), "skipped": ("–", "-")}
_STYLES = {"done": "green", "running": "bold", "failed": "bold red", "stopped": "yellow", "skipped": "dim"}


class LiveView:
    """A rich renderable: draws the watch as it is when it is drawn."""

    def __init__(self, watch: RunWatch) -> None:
        self.watch = watch

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        plain = not console.encoding.lower().startswith("utf")
        narrow = options.max_width < NARROW or console.size.height < SHORT
        yield _narrow(self.watch, plain) if narrow else _full(self.watch, options.max_width, plain)


def _full(watch: RunWatch, width: int, plain: bool) -> RenderableType:
    lines: list[RenderableType] = [_line(_title(watch, plain), "bold"), _stages(watch, width, plain)]
    train = watch.stages.get("train")
    if train and watch.total_steps:
        lines.append(_training(watch, width, plain))
    current = watch.stages.get(watch.running or "")
    if current and current.total and watch.running != "train":
        lines.append(_counted(watch, current, width, plain))
    if doing := watch.doing():
        lines.append(_line(f"{watch.running}: {doing}"))
    lines.append(_numbers(watch, width, plain))
    lines += _messages(watch)
    return Group(*lines)


def _narrow(watch: RunWatch, plain: bool) -> RenderableType:
    """Five short lines at most."""
    last, current = watch.last, watch.stages.get(watch.running or "")
    lines = [Text(f"{watch.running or 'starting'}", style="bold", no_wrap=True, overflow="ellipsis")]
    if watch.running == "train" and watch.total_steps:
        share = watch.step / watch.total_steps
        lines[0].append(f" {watch.step}/{watch.total_steps} {share:.0%}")
        if last.get("epoch") is not None:
            lines[0].append(f" epoch {last['epoch']:.2f}")
        losses = f"loss {number(last.get('loss'))}"
        if watch.evals:
            losses += f" eval {number(watch.evals[-1])}"
        lines.append(_line(f"{losses} {spark(watch.losses, 8, ascii_only=plain)}"))
        parts = [f"{last['tokens_per_second']:,.0f} tok/s"] if last.get("tokens_per_second") else []
        lines.append(_line(" ".join([*parts, *([f"{watch.peak_gib:.2f} GiB"] if watch.peak_gib else [])])))
    elif current and current.total:
        lines[0].append(f" {_count(current)} {current.text}")
    elif doing := watch.doing():
        lines[0].append(f": {doing}")
    left = watch.left()
    lines.append(_line(f"{duration(watch.spent())} spent" + (f", {duration(left)} left" if left is not None else "")))
    if watch.messages:
        lines.append(_line(f"{watch.messages[-1][0]}: {watch.messages[-1][1]}", "yellow"))
    return Group(*lines)


def _title(watch: RunWatch, plain: bool) -> str:
    plan = watch.plan
    parts = [plan.get("preset") or plan.get("model"), plan.get("method") and f"{plan['method']} with {plan['backend']}"]
    parts.append(watch.estimate.gpu_title or plan.get("gpu"))
    return (" - " if plain else " · ").join(str(part) for part in parts if part) or "run"


def _stages(watch: RunWatch, width: int, plain: bool) -> Text:
    """All of them in one line: with the time that each took where there is room."""
    for timed in (True, False):
        text = Text(no_wrap=True, overflow="ellipsis")
        for name, view in watch.stages.items():
            mark = _MARKS.get(view.state, ("·", "."))[plain]
            took = f" {duration(view.seconds)}" if timed and view.state == "done" and view.seconds is not None else ""
            gap = "   " if timed else "  "
            text.append(f"{gap if text else ''}{mark} {name}{took}", style=_STYLES.get(view.state, "dim"))
        if text.cell_len <= width:
            break
    return text


def _training(watch: RunWatch, width: int, plain: bool) -> Text:
    assert watch.total_steps
    share = watch.step / watch.total_steps
    epoch = watch.last.get("epoch")
    tail = f" {share:4.0%}" + (f"  epoch {epoch:.2f}" if epoch is not None else "")
    if epoch is not None and watch.plan.get("num_epochs"):
        tail += f" of {watch.plan['num_epochs']:g}"
    head = f"step {watch.step}/{watch.total_steps} "
    room = max(10, width - len(head) - len(tail) - 1)
    drawn = bar(share, room, marks=watch.quarters, ascii_only=plain)
    text = Text(head, no_wrap=True, overflow="ellipsis")
    filled = round(min(share, 1.0) * room)
    return text.append(drawn[:filled], style="green").append(drawn[filled:], style="dim").append(tail)


def _counted(watch: RunWatch, view: StageView, width: int, plain: bool) -> Text:
    tail = f" {_count(view)} {view.text}"
    head = f"{watch.running} "
    room = max(10, min(60, width - len(head) - len(tail) - 1))
    share = (view.done or 0) / (view.total or 1)
    return _line(f"{head}{bar(share, room, ascii_only=plain)}{tail}")


def _count(view: StageView) -> str:
    share = (view.done or 0) / (view.total or 1)
    return f"{view.done:g}/{view.total}" if view.total and view.total > 1 else f"{share:.0%}"


def _numbers(watch: RunWatch, width: int, plain: bool) -> Table:
    """Name and value, twice in a line where the terminal is wide."""
    pairs = list(_pairs(watch, 12 if width < MIDDLE else 24 if width < WIDE else 20, plain))
    names = max(len(name) for name, _ in pairs)
    columns = 2 if width >= WIDE else 1
    if columns == 1:
        table = _grid(1, names)
        for name, value in pairs:
            table.add_row(name, value)
        return table
    table, rest = _grid(2, names), _grid(1, names)
    short = [pair for pair in pairs if pair[0] not in LONG]
    for left, right in zip(short[::2], [*short[1::2], ("", "")], strict=False):
        table.add_row(*left, *right)
    for pair in pairs:
        if pair[0] in LONG:
            rest.add_row(*pair)
    outer = Table.grid()
    outer.add_row(table)
    outer.add_row(rest)
    return outer


def _grid(columns: int, names: int) -> Table:
    """``columns`` times a name, of which the first are ``names`` wide, and its value."""
    table = Table.grid(padding=(0, 2))
    for index in range(columns):
        table.add_column(style="dim", no_wrap=True, min_width=None if index else names)
        # a loss and its curve when it has grown: the second column stays where it is
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1, min_width=28 if columns > 1 else None)
    return table


def _pairs(watch: RunWatch, curve: int, plain: bool) -> Iterator[tuple[str, str]]:
    last, plan = watch.last, watch.plan
    if watch.train_began:
        yield "train loss", f"{number(last.get('loss'))}  {spark(watch.losses, curve, ascii_only=plain)}"
        if watch.evals:
            best = f"  best {number(min(watch.evals))}"
            yield "eval loss", f"{number(watch.evals[-1])}  {spark(watch.evals, curve, ascii_only=plain)}{best}"
        elif plan.get("eval_fraction") != 0:
            yield "eval loss", "not yet"
        if last.get("learning_rate") is not None:
            yield "learning rate", f"{last['learning_rate']:.2e}"
        if last.get("grad_norm") is not None:
            clip = f" (clipped at {plan['max_grad_norm']:g})" if plan.get("max_grad_norm") else ""
            yield "gradient norm", f"{last['grad_norm']:.3f}{clip}"
        if last.get("tokens_per_second") is not None:
            yield "tokens/s", _speed(watch)
        if watch.peak_gib is not None:
            yield "memory", _memory(watch, curve, plain)
    yield "time", watch.describe_time()
    money = watch.describe_money()
    if money:
        yield "money", money


def _speed(watch: RunWatch) -> str:
    predicted = watch.estimate.tokens_per_second
    return f"{watch.last['tokens_per_second']:,.0f}" + (f" (predicted {predicted:,.0f})" if predicted else "")


def _memory(watch: RunWatch, width: int, plain: bool) -> str:
    assert watch.peak_gib is not None
    text = f"{watch.peak_gib:.2f} GiB peak"
    predicted, budget = watch.estimate.peak_gib, watch.estimate.budget_gib
    if budget:
        marks = [predicted / budget] if predicted else []
        text += f" of {budget:.2f} {bar(watch.peak_gib / budget, width // 2, marks=marks, ascii_only=plain)}"
    return text + (f" predicted {predicted:.2f}" if predicted else "")


def _messages(watch: RunWatch) -> list[Text]:
    styles = {"warning": "yellow", "repair": "cyan", "note": "dim"}
    return [_line(f"{kind}: {text}", styles.get(kind, "")) for kind, text in watch.messages[-MESSAGES:]]


def _line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def number(value: Any) -> str:
    """A loss with four decimals, or ``-``."""
    return f"{value:.4f}" if isinstance(value, int | float) else "-"
