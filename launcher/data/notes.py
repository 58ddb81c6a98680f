"""What is to be known of a data file though nothing is wrong with it: what is not read, not trained, or changed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from launcher.data.columns import answer_column
from launcher.data.content import thought_of
from launcher.data.formats import Format, Row
from launcher.data.rendering import Renderer
from launcher.data.template_names import OWN_TEMPLATE
from launcher.data.tokens import Rendered
from launcher.data.told import Told
from launcher.errors import counted

_FRAMED = re.compile(
    r"\A\s*(<s>|<bos>|<\|begin_of_text\|>|<\|startoftext\|>)|(</s>|<eos>|<\|end_of_text\|>|<\|endoftext\|>)\s*\Z"
)


class Notes:
    """Counts over the usable rows of a file, and the notes that they become."""

    def __init__(self, renderer: Renderer) -> None:
        self.renderer = renderer
        self.unread: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()  # of what is counted by rows
        self.masked = 0
        self.read = self.parts = self.longest_thought = 0  # the last in bytes

    def add(self, row: Row, written: Row, parts: int, told: Told) -> None:
        """Count one row: as it was read, as it is written, and how many rows are made of it."""
        self.read += 1
        self.parts += parts
        self.unread.update(told.unread)
        self.masked += told.masked
        answers = [message["content"] for message in row.get("messages", ()) if message["role"] == "assistant"]
        self._count("masked", told.masked > 0)
        self._count("silenced", told.silenced > 0)
        self._count("thoughts", told.thoughts > 0)
        thoughts = (thought_of(turn) for turn in row.get("messages", ()) if turn["role"] == "assistant")
        self.longest_thought = max(self.longest_thought, *(len(thought.encode()) for thought in thoughts), 0)
        self._count("inline", any("<think>" in answer for answer in answers))
        self._count("trimmed", any(answer != answer.strip() for answer in answers))
        if "text" in row:
            bare = row["text"] == written["text"]
            self._count("bared", not bare)
            self._count("framed", bare and not self.renderer.knows_frame and _FRAMED.search(row["text"]) is not None)

    def _count(self, what: str, there: bool) -> None:
        if there:
            self.rows[what] += 1

    def lost_thoughts(self, row: Row, parts: Sequence[Rendered]) -> bool:
        """Whether the text that is trained of a row lacks a thought of it."""
        if self.renderer.template is None or self.renderer.thoughts == "drop":
            return False
        answers = [
            turn for turn in row["messages"] if turn["role"] == "assistant" and turn.get("training") is not False
        ]
        thoughts = [thought for turn in answers if (thought := thought_of(turn))]
        if not thoughts:
            return False
        trained = [rendered.text[start:end] for rendered in parts for start, end in rendered.spans]
        return not all(any(thought in text for text in trained) for thought in thoughts)

    @property
    def thinks(self) -> bool:
        """Whether thoughts are trained in any row."""
        return self.renderer.thoughts != "drop" and bool(self.rows["thoughts"] or self.rows["inline"])

    def asked(self) -> Iterator[str]:
        """How golden prompts and a server are to ask, where that is not as the template does by itself."""
        settings = self.renderer.prompt_settings(thinks=self.thinks)
        if settings:
            said = ", ".join(f"{key} {str(value).lower()}" for key, value in settings.items())
            yield f"no row has a thought: golden prompts, `ql chat` and `ql serve` ask with {said}, as rows are written"
        elif settings is None:
            yield (
                "no row has a thought, and the chat template writes something before an answer that it does not write "
                "in a prompt: the model is asked otherwise than it is trained"
            )

    def texts(self, form: Format | None) -> Iterator[str]:
        """The notes of all rows that were counted."""
        rows = self.read
        if self.parts > rows:
            become = "becomes" if rows == 1 else "become"
            yield (
                f"{counted(rows, 'row')} {become} {self.parts:,}: the chat template writes thoughts, or an empty one, "
                "in the last turn alone, so each answer is trained at the end of a row of its own"
            )
        for name, count in sorted(self.unread.items()):
            labels = form == "text" and answer_column(name)
            more = f"; --map text=prompt,{name}=completion trains it as the answer" if labels else ""
            yield f"{name} is given in {share(count, rows)} and not read{more}"
        if self.masked:
            turns = "turn is" if self.masked == 1 else "turns are"
            given = share(self.rows["masked"], rows)
            yield f"{self.masked:,} {turns} masked in {given} (weight 0, train false): read, and not trained"
        if self.rows["thoughts"]:
            yield f"thoughts (reasoning) are given in {share(self.rows['thoughts'], rows)}: {self._fate()}"
        if self.rows["silenced"]:
            given = share(self.rows["silenced"], rows)
            yield f"thoughts are left out of {given}, whose chat_template_kwargs turn thinking off"
        if self.rows["inline"]:
            fate = "left out, as asked" if self.renderer.thoughts == "drop" else "trained as they stand there"
            yield f"<think> stands in the answers of {share(self.rows['inline'], rows)}: thoughts are {fate}"
        if self.rows["bared"]:
            given = share(self.rows["bared"], rows)
            yield f"{given} begin or end with a token that is added to every text: it is written once, not twice"
        if self.rows["framed"]:
            given = share(self.rows["framed"], rows)
            yield (
                f"{given} begin or end with a token such as <s>, which tokenizers add: with the base's tokenizer at "
                "hand (--model) it is written once, else it may stand twice"
            )
        template = self.renderer.template
        if self.rows["trimmed"] and template is not None and template.name != OWN_TEMPLATE:
            given = share(self.rows["trimmed"], rows)
            yield f"answers begin or end in white space, which the chat template removes, in {given}"

    def _fate(self) -> str:
        if self.renderer.thoughts == "drop":
            return "left out, as asked"
        if self.renderer.thought_field is not None:
            return f"trained as the chat template writes them ({self.renderer.thought_field})"
        return "trained between <think> and </think> before the answer; --thoughts drop leaves them out"


def share(count: int, rows: int) -> str:
    percent = 100 * count / rows if rows else 0.0
    shown = f"{percent:.0f} %" if percent >= 1 else f"{percent:.2g} %"
    return f"{count:,} of {rows:,} rows ({shown})"
