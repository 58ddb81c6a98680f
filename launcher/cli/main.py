"""The command ``ql``: a table from verb to module, loaded when the verb is used."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from typing import Any, NoReturn

import click

from launcher import __version__
from launcher.cli.words import VERDICT
from launcher.errors import QlError, RunFailed, remedy

# verb -> one line of help. Written here so that `ql --help` need not import fifteen modules.
VERBS: dict[str, str] = {
    "init": "Ask a few questions and write the job file that `ql launch` runs.",
    "presets": "List the presets, or show one resolved, with the reason for each value.",
    "estimate": "Memory, speed and cost of a run, before it is run.",
    "check": "Check a data file: every bad row, with its line number.",
    "split": "Cut a golden set out of a data file, without leaks.",
    "export": "Write the trainer's config, ready to edit by hand and to run without ql.",
    "validate": "Check training configs, with the line and the fix; no GPU needed.",
    "launch": "Plan, train, score and merge, in one run directory.",
    "resume": "Go on with a run that was stopped, failed or killed.",
    "runs": "List runs, or show one.",
    "start": "Launch or resume a run; safe to call again, for schedulers and reboots.",
    "report": "Write a run's report again, as one HTML file.",
    "compare": "Runs side by side: plan, curves, scores, memory, cost.",
    "eval": "Score a finished run against a golden set.",
    "merge": "Merge an adapter into a 16-bit checkpoint.",
    "chat": "Ask base and adapter the same questions, side by side.",
    "serve": "The vLLM commands that serve a run.",
    "push": "Upload a run's model to the Hugging Face hub, with its card.",
    "calibrate": "Run a few steps here, and correct the estimates for this machine by them.",
    "doctor": "What this machine has, and what a run would miss.",
    "completion": "Print the shell completion script.",
}


class Verbs(click.Group):
    """Loads ``launcher.cli.<verb>`` when asked for it, and turns our errors into one clear text and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"launcher.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in VERBS:
            from launcher.errors import did_you_mean

            hint = (
                f"did you mean --{args[0]}?" if args[0] in ("help", "version") else did_you_mean(args[0], list(VERBS))
            )
            ctx.fail(f"no such verb {args[0]!r}: {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:
            _refuse_option(error)
        except KeyboardInterrupt:  # click would exit with 1
            sys.exit(130)
        except click.Abort:  # Ctrl-C or Ctrl-D at a question, and here too
            click.echo("\nstopped", err=True)
            sys.exit(130)
        except BrokenPipeError:  # `ql presets | head`: the reader has what it wanted. click would exit with 1
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(ctx.meta.get(VERDICT, 0))

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **kwargs)
        except QlError as error:
            report(error)
            sys.exit(error.exit_code)
        except OSError as error:  # a full disk, a folder that may not be written
            where = error.filename or "the system"
            report(RunFailed(f"{where}: {error.strerror or error}", hint=remedy(error)))
            sys.exit(RunFailed.exit_code)


def _refuse_option(error: click.NoSuchOption) -> NoReturn:
    """Raise it again; for a setting of the plan that is given as an option, with the way to give it."""
    from launcher.errors import known_elsewhere
    from launcher.planning.plan import SETTINGS

    key = error.option_name.lstrip("-").replace("-", "_").partition("=")[0]
    setting = key if key in SETTINGS else known_elsewhere(key, SETTINGS)
    if setting is None or error.ctx is None or all(param.name != "pairs" for param in error.ctx.command.params):
        raise error
    raise click.UsageError(f"No such option {error.option_name!r}. Did you mean --set {setting}=VALUE?", error.ctx)


def report(error: QlError) -> None:
    """All problems of an error, as text on stderr; as JSON on stdout too when ``--json`` was asked for."""
    from launcher.processes.secrets import redact, redact_all

    for problem in error.problems:
        click.echo(redact(f"error: {problem}"), err=True)
    if "--json" in sys.argv:
        problems = redact_all([problem.to_dict() for problem in error.problems])
        with contextlib.suppress(OSError):  # where stdout is what is full, it has been said on stderr
            click.echo(json.dumps({"problems": problems, "exit_code": error.exit_code}))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="ql")
def main() -> None:
    """Fine-tune a language model on one GPU: a QLoRA run that fits the card, scored and merged for serving.

    Exit codes: 0 done; 1 the thing checked is bad; 2 wrong usage or unreadable input; 3 the run could not start or
    failed; 130 and 143 stopped by a signal.
    """
