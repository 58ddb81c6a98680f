"""``ql push``: a run's model on the Hugging Face hub, with its card."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from launcher.cli import complete
from launcher.cli.options import json_option, runs_dir
from launcher.cli.words import examples

if TYPE_CHECKING:
    from launcher.records.events import Message
    from launcher.runs.run import Run


def _with_owner(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """A name alone would make a repository of the token's owner, and then fail to write to it."""
    owner, slash, name = value.partition("/")
    if not (owner and slash and name):
        raise click.BadParameter(f"{value!r} is not OWNER/NAME, such as me/{name or owner or 'tickets'}", ctx, param)
    return value


@click.command(epilog=examples("ql push latest --repo me/tickets --dry-run"))
@click.argument("run", metavar="RUN", shell_complete=complete.runs)
@click.option(
    "--repo",
    required=True,
    metavar="OWNER/NAME",
    callback=_with_owner,
    help="Model repository; made when there is none.",
)
@click.option("--adapter", is_flag=True, help="Upload adapter/ rather than merged/.")
@click.option("--public", is_flag=True, help="Let everybody see a repository that is made now; the default is private.")
@click.option("--revision", metavar="BRANCH", help="Branch to write to, made when there is none; the default is main.")
@click.option("--message", help="Commit message; the default names the run.")
@click.option("--missed-gates", is_flag=True, help="Upload a model that missed a gate of its run.")
@click.option("--dry-run", is_flag=True, help="Write the card and show what would be uploaded.")
@runs_dir
@json_option
def command(
    run: str,
    repo: str,
    adapter: bool,
    public: bool,
    revision: str | None,
    message: str | None,
    missed_gates: bool,
    dry_run: bool,
    runs_dir: Any,
    as_json: bool,
) -> None:
    """Upload merged/ of RUN, or its adapter/, to the hub in one commit: all of it appears, or nothing.

    The token comes from HF_TOKEN or from `hf auth login`, and is never shown. Exits 1 when the run missed a gate, 3
    when there is nothing to upload or the hub refuses.
    """
    from launcher.records.codec import encode
    from launcher.runs.results.pushing import push, what_to_push
    from launcher.runs.run import open_run

    found = open_run(run, runs_dir)
    what = what_to_push(found, adapter=adapter, missed_gates=missed_gates)
    place = {"repo": repo, "folder": str(what.folder)}
    if dry_run:
        files = what.files
        if as_json:
            click.echo(json.dumps({**place, "files": files, "bytes": what.bytes}, indent=2))
            return
        click.echo("\n".join(files))
        click.echo(f"would upload {_size(files, what.bytes)} of {what.folder} to {repo}", err=True)
        return
    sent = push(found, what, repo, private=not public, revision=revision, message=message, show=_show(found))
    if as_json:
        click.echo(json.dumps({**place, **encode(sent)}, indent=2))
    else:
        click.echo(f"{sent.url}: {_size(sent.files, sent.bytes)}, commit {sent.commit[:12]}")


def _size(files: list[str], size: int) -> str:
    amount = f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
    return f"{len(files)} files, {amount}"


def _show(run: Run) -> Any:
    def show(message: Message) -> None:
        print(f"{run.path.name}: {message['text']}", file=sys.stderr)  # noqa: T201

    return show
