"""Worker job ``chat``: base and adapter answer the same conversation, turn by turn.

Runs under the trainer's python. Each line of ``questions`` is ``{"text": what the person says}``, or
``{"reset": true}``, which forgets what was said. The job emits ``{"event": "ready", "device": …}`` when the model is
loaded, and ``{"event": "answer", "base": {…}, "adapter": {…}}`` for each text. It ends with the last line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from launcher.errors import RunFailed
from launcher.jobs.golden.generate import greedy, quiet
from launcher.jobs.golden.models import add_adapter, as_base, choose_device, load_base
from launcher.jobs.golden.prompts import load_tokenizer, prompt_ids, read_template, stop_ids
from launcher.records.events import Answer
from launcher.records.jobs import ChatRequest, Chatted, Emit


def run(request: ChatRequest, emit: Emit) -> Chatted:
    """Answer until stdin ends; see the module's text. Raises RunFailed when a model cannot be loaded."""
    quiet()
    tokenizer = load_tokenizer(request.tokenizer)
    device = choose_device(request.device)
    base = load_base(request.base, request.quantization, request.compute_dtype, device)
    conversation = Conversation(
        model=add_adapter(base, request.adapter),
        tokenizer=tokenizer,
        template=read_template(request.chat_template, tokenizer),
        limit=request.max_new_tokens,
        settings=request.template_settings,
    )
    with Path(request.questions).open(encoding="utf-8") as questions:
        emit({"event": "ready", "device": device})
        return Chatted(turns=converse(conversation, questions, emit))


def converse(conversation: Conversation, lines: Iterable[str], emit: Emit) -> int:
    """Answer each line; the number of turns."""
    turns = 0
    for line in lines:
        said = json.loads(line)
        if said.get("reset"):
            conversation.reset()
            continue
        answers = conversation.ask(said["text"])
        emit({"event": "answer", "base": answers["base"], "adapter": answers["adapter"]})
        turns += 1
    return turns


class Conversation:
    """Two models that were told the same and remember their own answers.

    Without a chat template (a model trained on plain text) every text is continued by itself.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        template: str | None,
        limit: int,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.template = template
        self.limit = limit
        self.settings = settings
        self.stops = stop_ids(model, tokenizer, template)
        self.reset()

    def reset(self) -> None:
        """Forget what was said."""
        self.turns: dict[str, list[dict[str, str]]] = {"base": [], "adapter": []}

    def ask(self, text: str) -> dict[str, Answer]:
        """The answers of base and adapter to ``text``."""
        return {subject: self._answer(subject, text) for subject in self.turns}

    def _answer(self, subject: str, text: str) -> Answer:
        turns = self.turns[subject]
        turns.append({"role": "user", "content": text})
        prompt: dict[str, object] = {"messages": turns} if self.template else {"text": text}
        try:
            ids = prompt_ids(prompt, self.tokenizer, self.template, self.settings)
        except Exception as error:  # a template may raise anything that Jinja, or Python in it, can raise
            raise RunFailed(f"the chat template refuses this conversation: {error}") from error
        with as_base(self.model) if subject == "base" else nullcontext():
            answer = greedy(self.model, self.tokenizer, [ids], self.limit, self.stops)[0]
        turns.append({"role": "assistant", "content": answer["output"]})
        return answer
