"""report.html: one self-contained page with the verdict first, made from the manifest alone."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from launcher.resources import resource


def render_report(
    summary: Mapping[str, Any],
    manifest: Mapping[str, Any],
    settings: Sequence[str],
    commands: Mapping[str, Sequence[str]],
    losses: Sequence[Mapping[str, Any]],
) -> str:
    """The page as HTML text.

    ``summary`` is what `ql runs RUN --json` prints, ``settings`` the plan's keys in their order, ``commands`` the
    serving commands, ``losses`` the evaluation records of events.jsonl.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(resource("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    plan = manifest["plan"]
    golden = summary["golden"]
    page = {
        **summary,
        "stages": [{"reason": None, "error": None, **stage} for stage in summary["stages"]],
        "verdict": verdict(summary),
        "metrics": list(next(iter(golden.values()))) if golden else [],
        "merge_facts": _merge_facts(summary["merge"] or {}),
        "commands": [(title, shlex.join(argv)) for title, argv in commands.items()],
        "losses": losses,
        "plan_rows": [(key, _show(plan[key]), plan["reasons"].get(key, "")) for key in settings],
        "provenance": _provenance(manifest),
    }
    return environment.get_template("report.html.j2").render(run=page)


def verdict(summary: Mapping[str, Any]) -> dict[str, Any]:
    """One sentence: what the gates say, or what was looked at where there are none."""
    missed = [gate["gate"] for gate in summary["gates"] if not gate["passed"]]
    scores = summary["golden"].get("merged") or summary["golden"].get("adapter")
    if missed:
        return {"bad": True, "text": f"Gate missed: {', '.join(missed)}."}
    if scores:
        base = summary["golden"].get("base")
        against = f", the base {base['exact_match']:.3f}" if base else ""
        passed = "All gates passed. " if summary["gates"] else ""
        return {"bad": False, "text": f"{passed}Exact match {scores['exact_match']:.3f}{against}."}
    loss = summary["best_eval_loss"]
    if loss is None:
        return {"bad": False, "text": "Trained. No golden set and no evaluation rows: nothing was scored."}
    return {"bad": False, "text": f"Evaluation loss {loss:.4f}. No golden set: this loss alone was looked at."}


def _merge_facts(merge: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [("base weights", str(merge.get("base"))), ("stored as", str(merge.get("dtype")))]
    if merge.get("delta_error") is not None:
        facts.append(("the adapter's delta is off by, after rounding", f"{merge['delta_error']:.2%}"))
    if merge.get("kl") is not None:
        facts.append(("KL divergence from the unmerged model", f"{merge['kl']:.2e} nats per token"))
        facts.append(("same most likely next token", f"{merge['top1_agreement']:.2%} of tokens"))
    return facts


def _provenance(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [("ql", str(manifest.get("ql_version")))]
    rows += [(name, str(value)) for name, value in manifest.get("environment", {}).get("versions", {}).items() if value]
    for name in ("data", "golden"):
        if manifest.get(name):
            rows.append((name, f"{manifest[name]['path']} sha256 {manifest[name]['sha256']}"))
    return rows


def _show(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value) or "none"
    return "none" if value is None else str(value)
