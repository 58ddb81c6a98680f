"""A toy language of support tickets: twelve queues, each with its own words, in sentences that all queues share.

One grammar serves the shipped example data (`make_examples.py`) and the tiny model's pretraining
(`make_tiny_model.py`), so the model knows the words and has yet to learn which queue wants which.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

INSTRUCTION = "Which queue handles this ticket?"


@dataclass(frozen=True)
class Queue:
    """What people write about: things, what is the matter with them, and what they ask for."""

    things: tuple[str, ...]
    troubles: tuple[str, ...]
    wishes: tuple[str, ...]


QUEUES: dict[str, Queue] = {
    "billing": Queue(
        ("the invoice", "my monthly bill", "the card charge", "the payment receipt", "the account balance"),
        ("was charged twice", "lists a wrong tax", "shows the wrong total", "has an unknown fee", "is overdue"),
        ("correct the amount", "refund the extra charge", "send a new invoice", "explain the fee"),
    ),
    "delivery": Queue(
        ("the parcel", "my package", "the courier", "the shipment", "the tracking number"),
        ("never arrived", "went to the wrong address", "is days late", "was left in the rain", "has not moved"),
        ("find the parcel", "ship it again", "change the address", "name a delivery date"),
    ),
    "returns": Queue(
        ("the jacket", "this pair of shoes", "the dress", "the blue shirt", "the gift"),
        ("does not fit", "has the wrong size", "has the wrong colour", "looks worn", "is not what I chose"),
        ("send a return label", "exchange it", "take it back", "collect the item"),
    ),
    "login": Queue(
        ("my password", "the reset link", "my username", "the sign in page", "the captcha"),
        ("is not accepted", "has expired", "is forgotten", "keeps me locked out", "asks me again and again"),
        ("unlock my profile", "reset the password", "send another link", "let me sign in"),
    ),
    "security": Queue(
        ("a phishing mail", "an unknown device", "a stolen badge", "a hacker", "some malware"),
        ("got into our system", "asked for my secrets", "passed the firewall", "copied the keys", "set off an alarm"),
        ("block the intruder", "check the logs", "scan the laptop for threats", "revoke the keys"),
    ),
    "hardware": Queue(
        ("the screen", "my keyboard", "the battery", "the docking station", "the printer"),
        ("is cracked", "gets very hot", "makes a loud noise", "has a broken cable", "will not power on"),
        ("replace the part", "repair the machine", "bring a spare charger", "order a new mouse"),
    ),
    "software": Queue(
        ("the desktop app", "the latest update", "the spreadsheet plugin", "the installer", "the export button"),
        ("crashes on start", "freezes", "shows an error code", "lost my unsaved work", "will not install"),
        ("fix the bug", "roll back the version", "install a patch", "read the crash report"),
    ),
    "network": Queue(
        ("the wifi", "the vpn", "the router", "our internet line", "the proxy"),
        ("drops every hour", "is far too slow", "has no signal", "loses packets", "cannot reach the server"),
        ("restart the router", "raise the bandwidth", "check the line", "open the port"),
    ),
    "privacy": Queue(
        ("my personal data", "the cookie banner", "the consent form", "the newsletter list", "my old record"),
        ("was shared with partners", "is kept too long", "ignores my choice", "was used unasked", "names my family"),
        ("delete my record", "stop the newsletter", "send a copy of my data", "withdraw my consent"),
    ),
    "sales": Queue(
        ("the quote", "the price list", "a bulk order", "the trial licence", "the reseller contract"),
        ("needs a discount", "ends next quarter", "covers too few seats", "misses the premium plan", "awaits an offer"),
        ("prepare an offer", "book a product demo", "add twenty seats", "call our buyer"),
    ),
    "training": Queue(
        ("the course", "the webinar", "my certificate", "the workshop", "the exam"),
        ("is fully booked", "has no lesson plan", "starts without a teacher", "was graded wrong", "lacks the slides"),
        ("enrol my team", "move the lesson", "share the slides", "print the certificate"),
    ),
    "facilities": Queue(
        ("the heating", "the elevator", "the meeting room", "the parking gate", "the kitchen sink"),
        ("is leaking", "is stuck between floors", "smells of smoke", "has no light", "was left dirty"),
        ("send the janitor", "clean the floor", "mend the door", "turn up the heating"),
    ),
}  # fmt: skip

OPENERS = ("Hello,", "Hi there,", "Good morning,", "Dear team,", "To whom it may concern,", "Sorry to bother you, but")
CONTEXTS = (
    "It began {when}.", "I noticed it {when}.", "A colleague saw the same {when}.", "We are in the {where} office.",
    "I write from {where}.", "My manager in {where} waits.", "This is the {count} time.", "I asked {when} already.",
)  # fmt: skip
WHEN = ("on Monday", "on Tuesday", "on Friday", "last week", "this morning", "yesterday", "two days ago", "after lunch")
WHERE = ("Oslo", "Lima", "Kyoto", "Nairobi", "Lisbon", "Denver", "Prague", "Hanoi")
COUNT = ("second", "third", "fourth", "fifth")
REQUESTS = ("Please {wish}.", "Could you {wish}?", "Can someone {wish}?", "I would like you to {wish}.")
CLOSINGS = ("Thanks.", "Thank you!", "Kind regards.", "Best wishes.", "It is urgent.", "No hurry.")


def ticket(queue: str, rng: random.Random) -> str:
    """One ticket for ``queue``: greeting, what is the matter, a remark any queue may get, a wish, goodbye."""
    words = QUEUES[queue]
    thing, second = rng.sample(words.things, 2)
    matter = f"{thing} {rng.choice(words.troubles)}"
    if rng.random() < 0.3:
        matter += f" and {second} {rng.choice(words.troubles)}"
    remark = rng.choice(CONTEXTS).format(when=rng.choice(WHEN), where=rng.choice(WHERE), count=rng.choice(COUNT))
    wish = rng.choice(REQUESTS).format(wish=rng.choice(words.wishes))
    middle = [remark, wish] if rng.random() < 0.5 else [wish, remark]
    return " ".join([rng.choice(OPENERS), f"{matter}.", *middle, rng.choice(CLOSINGS)])


def balanced(per_queue: int, rng: random.Random, *, without: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    """``per_queue`` different (ticket, queue) pairs of each queue, none of them in ``without``, shuffled."""
    rows: list[tuple[str, str]] = []
    for queue in QUEUES:
        texts: dict[str, None] = {}
        while len(texts) < per_queue:
            text = ticket(queue, rng)
            if text not in without:
                texts[text] = None
        rows += [(text, queue) for text in texts]
    rng.shuffle(rows)
    return rows
