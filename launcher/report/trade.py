"""QLoRA or LoRA, after both were run: what one gives up for the other, in points, GiB, time and USD."""

from __future__ import annotations

from launcher.report.compared import Comparison, RunFigures, Trade, Traded
from launcher.report.words import duration, usd

METHODS = {"qlora": "QLoRA", "lora": "LoRA"}
CLOSE = 0.05  # relative difference of cost or time below which neither is the cheaper one


def find_trade(facts: Comparison) -> Trade | None:
    """The trade of a comparison of one QLoRA and one LoRA run of the same job; None for any other.

    Signed as LoRA minus QLoRA: ``points`` (hundredths of the main metric, with its 95 % interval), ``gib``, ``seconds``
    and ``usd``. ``recommend`` is the method and ``run`` its run, ``take`` names both, ``why`` says it in one sentence,
    ``words`` the trade in another.
    """
    runs = {run["method"]: run for run in facts["runs"]}
    if set(runs) != {"qlora", "lora"} or not facts["golden"]:
        return None
    qlora, lora = runs["qlora"], runs["lora"]
    pair = facts["golden"][0]
    score = pair["metrics"][pair["main_metric"]]
    sign = 1 if pair["second"] == lora["name"] else -1
    bounds = sorted((sign * score["low"] * 100, sign * score["high"] * 100))
    trade: Traded = {
        "metric": pair["main_metric"],
        "prompts": pair["prompts"],
        "points": sign * score["difference"] * 100,
        "points_low": bounds[0],
        "points_high": bounds[1],
        "evident": score["evident"],
        "p_value": score["p_value"],
        "gib": _minus(lora["peak_memory_gib"], qlora["peak_memory_gib"]),
        "seconds": _minus(lora["seconds"], qlora["seconds"]),
        "usd": _minus(lora["usd"], qlora["usd"]),
    }
    recommend, why = _recommend(trade, qlora, lora)
    name = runs[recommend]["name"]
    return {
        **trade,
        "words": describe_trade(trade),
        "recommend": recommend,
        "run": name,
        "take": take(name, recommend),
        "why": why,
    }


def take(run: str, method: str) -> str:
    """``the LoRA run`` where the run is named by its method, as `--method both` does; else ``NAME, the LoRA run``."""
    words = f"the {METHODS[method]} run"
    return words if run == method else f"{run}, {words}"


def _recommend(trade: Traded, qlora: RunFigures, lora: RunFigures) -> tuple[str, str]:
    """Gates first, then a score that is evidently better, then money, then time, then memory."""
    passed = {run["method"]: all(gate["passed"] for gate in run["gates"]) for run in (qlora, lora)}
    if passed["qlora"] != passed["lora"]:
        best = "qlora" if passed["qlora"] else "lora"
        return best, f"{best} passes its gates and the other does not"
    both = "" if passed["lora"] or not lora["gates"] else "neither passes its gates; "
    if trade["evident"]:
        best = "lora" if trade["points"] > 0 else "qlora"
        return best, f"{both}it scores {abs(trade['points']):.1f} points more, more than chance explains"
    alike = f"{both}the scores do not differ by more than chance explains"
    for theirs, ours, name in (
        (qlora["usd"], lora["usd"], "cheaper"),
        (qlora["seconds"], lora["seconds"], "faster"),
    ):
        if ours and theirs and abs(ours / theirs - 1) >= CLOSE:
            return ("lora" if ours < theirs else "qlora"), f"{alike}, and it is {name}"
    memory = qlora["peak_memory_gib"]
    if memory and trade["gib"] is not None and trade["gib"] / memory >= CLOSE:
        return "qlora", f"{alike}, time and cost are alike, and it needs less memory"
    return "lora", f"{alike}, time and cost are alike, and 16-bit weights lose nothing"


def describe_trade(trade: Traded) -> str:
    """``LoRA against QLoRA: +1.7 points of exact match (95 % -4.0 to +7.4), +0.61 GiB, 12.0 s less, $0.01 less``."""
    chance = f"95 % {trade['points_low']:+.1f} to {trade['points_high']:+.1f}"
    parts = [f"{trade['points']:+.1f} points of {trade['metric'].replace('_', ' ')} ({chance})"]
    if trade["gib"] is not None:
        parts.append(f"{round(trade['gib'], 2) + 0.0:+.2f} GiB")
    for amount, form in ((trade["seconds"], duration), (trade["usd"], usd)):
        if amount is not None:
            parts.append(f"{form(abs(amount))} {'less' if amount < 0 else 'more'}")
    return "LoRA against QLoRA: " + ", ".join(parts)


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else round(a - b, 6)
