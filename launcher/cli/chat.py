"""``ql chat``: the same question to the base and to the adapter, side by side."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.cli import complete
from launcher.cli.options import json_option, runs_dir, trainer_python_option
from launcher.cli.words import examples

if TYPE_CHECKING:
    from launcher.records.events import Answer, Message

HELP = "An empty line is passed over, /reset forgets what was said, Ctrl-D ends."


@click.command(epilog=examples('ql chat latest --prompt "Which queue handles this ticket?"'))
@click.argument("run", shell_complete=complete.runs)
@click.option("--prompt", help="Ask this once and end; without it, questions are read line by line.")
@click.option("--max-new-tokens", type=click.IntRange(min=1), default=256, show_default=True, help="Longest answer.")
@trainer_python_option
@runs_dir
@json_option
def command(
    run: str, prompt: str | None, max_new_tokens: int, trainer_python: str | None, runs_dir: Path, as_json: bool
) -> None:
    """Ask base and adapter of RUN (a name, a path, or `latest`) the same questions and see both answers.

    With --json each question and its answers are one line of JSON.
    """
    from launcher.errors import Unreadable
    from launcher.records.codec import fields_of
    from launcher.records.jobs import CHAT, ChatRequest
    from launcher.runs.results.scoring import model_request
    from launcher.runs.run import open_run
    from launcher.trainers.workers import call_worker

    if prompt is not None and not prompt.strip():
        raise Unreadable("--prompt is empty")
    found = open_run(run, runs_dir)
    models = fields_of(model_request(found))
    python = trainer_python or found.trainer_python
    click.echo("loading the model …", err=True)
    with tempfile.TemporaryDirectory(prefix="ql-chat-") as folder:
        # A named pipe: the worker reads a question when there is one, and its stdin stays closed like any worker's.
        pipe = Path(folder) / "questions"
        os.mkfifo(pipe)
        asker = Asker(os.open(pipe, os.O_RDWR), prompt, as_json)
        try:
            request = ChatRequest(**models, max_new_tokens=max_new_tokens, questions=str(pipe))
            call_worker(python, CHAT, request, found.path / "chat.log", asker.hear)
        finally:
            asker.close()


class Asker:
    """Hears what the worker says, shows it, and hands it the next question."""

    def __init__(self, pipe: int, prompt: str | None, as_json: bool) -> None:
        self.pipe: int | None = pipe
        self.prompt = prompt
        self.as_json = as_json
        self.asked = ""
        self.at_terminal = prompt is None and sys.stdin.isatty()

    def hear(self, message: Message) -> None:
        """A message of the worker: it is ready, or it has answered."""
        if message["event"] == "ready" and self.at_terminal:
            click.echo(HELP, err=True)
        elif message["event"] == "answer":
            self.show({"base": message["base"], "adapter": message["adapter"]})
            if self.prompt is not None:
                return self.close()
        self.ask(self.prompt)
        return None

    def ask(self, text: str | None) -> None:
        """Send ``text``, or the next line that the person writes; without one the worker is told to end."""
        while text is None:
            line = self.read()
            if line is None:
                return self.close()
            if line.strip() == "/reset":
                self.send({"reset": True})
            elif line.strip():
                text = line.strip()
        self.asked = text
        self.send({"text": text})
        return None

    def read(self) -> str | None:
        """One line from the person, None at the end."""
        if self.at_terminal:
            click.echo("\n> ", nl=False, err=True)
        return sys.stdin.readline() or None

    def send(self, question: dict[str, str | bool]) -> None:
        if self.pipe is not None:
            os.write(self.pipe, json.dumps(question).encode() + b"\n")

    def close(self) -> None:
        """No more questions."""
        if self.pipe is not None:
            os.close(self.pipe)
        self.pipe = None

    def show(self, answers: dict[str, Answer]) -> None:
        if self.as_json:
            click.echo(json.dumps({"prompt": self.asked, **answers}, ensure_ascii=False))
            return
        texts = {
            subject: answer["output"] + ("" if answer["finished"] else " …") for subject, answer in answers.items()
        }
        if not sys.stdout.isatty():
            for subject, text in texts.items():
                click.echo(f"{subject + ':':<9}{text}")
            return
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        columns = Table(*texts, expand=True)
        columns.add_row(*(Text(text) for text in texts.values()))  # plain: an answer may hold brackets
        Console().print(columns)
