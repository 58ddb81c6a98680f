"""``ql completion``: the script that makes a shell complete verbs, options and preset names."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of SHELL, such as `ql completion bash >> ~/.bashrc`."""
    from click.shell_completion import get_completion_class

    from launcher.cli.main import main

    completer = get_completion_class(shell)
    assert completer is not None  # click ships these three
    click.echo(completer(main, {}, "ql", "_QL_COMPLETE").source())
