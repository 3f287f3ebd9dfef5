"""Golden logs: short histories in plain text with the answers worked out by hand (see ``tests/golden/README.md``).

>>> steps = parse('''
... experiment e surface=home attribution=share window=7 maturity=7 actions=purchase:1
... [log g1]
... 2026-03-01T10:00  request  r1  u1  home  e/ramp_50/interleave  a:pair0:T b:pair0:C c
... 2026-03-01T10:05  purchase  f1  u1  a  500 EUR request=r1
... [run 2026-03-02T00:00]
... [outcomes]
... f1  home/e  r1  impression  T=1 C=0 500 EUR
... ''')
>>> [(step.verb, step.argument) for step in steps]
[('experiment', 'e'), ('log', 'g1'), ('run', '2026-03-02T00:00'), ('outcomes', '')]
>>> steps[1].events[0].slots[1].owner, steps[1].events[1].value_minor
('champion', 500)
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct, field

from incumbent.clock import EPOCH
from incumbent.errors import DataError
from incumbent.events.schema import Feedback, Impression, Slot

OWNERS = {"T": "candidate", "C": "champion"}


class Step(Struct):
    """One thing that a golden log does or expects: `verb argument`, its options, events, or lines of tokens."""

    verb: str
    argument: str = ""
    options: dict[str, str] = field(default_factory=dict)
    events: list[Impression | Feedback] = field(default_factory=list)
    lines: list[list[str]] = field(default_factory=list)


def parse(text: str) -> list[Step]:
    """The steps of a golden log, in order; `DataError` names the line that is none."""
    steps: list[Step] = []
    ids: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        try:
            if line.startswith("["):
                verb, _, argument = line.strip("[]").partition(" ")
                steps.append(Step(verb, argument.strip()))
            elif line.startswith("experiment "):
                _, name, *options = line.split()
                steps.append(Step("experiment", name, dict(option.split("=", 1) for option in options)))
            elif steps[-1].verb == "log":
                steps[-1].events.append(_event(line.split(), ids))
            else:
                steps[-1].lines.append(line.split())
        except (ValueError, IndexError, KeyError) as error:
            raise DataError("a line of a golden log cannot be read", got=line, hint=str(error),
                            field=f"line {number}") from None
    return steps


def event_id(name: str, time: datetime) -> str:
    """A UUIDv7 of this time, the same for the same name."""
    digest = hashlib.blake2b(name.encode(), digest_size=10).digest()
    value = ((time - EPOCH) // timedelta(milliseconds=1)) << 80 | int.from_bytes(digest, "big")
    value = value & ~(0xF << 76) & ~(0b11 << 62) | 0x7 << 76 | 0b10 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def moment(text: str) -> datetime:
    """A time of a golden log, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _event(words: list[str], ids: dict[str, str]) -> Impression | Feedback:
    time, kind, name = moment(words[0]), words[1], words[2]
    ids[name] = event_id(name, time)
    if kind == "request":
        return impression(name, time, words[3], words[4], words[5], words[6:])
    user, item, *rest = words[3:]
    options: dict[str, Any] = dict(word.split("=", 1) for word in rest if "=" in word)
    money = [word for word in rest if "=" not in word]
    refers = options.pop("refers", None)
    return Feedback(
        event_id=ids[name], time=time, user_id=user, item_id=item, action=kind,  # type: ignore[arg-type]
        request_id=options.pop("request", None), order_id=options.pop("order", None),
        line_id=options.pop("line", None), quantity=int(options.pop("quantity")) if "quantity" in options else None,
        value_minor=int(money[0]) if money else None, currency=money[1] if money else None,
        refers_to=None if refers is None else ids.get(refers, event_id(refers, EPOCH)),
        marks=options.pop("mark").split(",") if "mark" in options else [],
    )


def impression(name: str, time: datetime, user: str, surface: str, where: str, slots: list[str], *, page: int = 1,
               ranking: str | None = None) -> Impression:
    """An impression from its words: `where` is ``EXPERIMENT/STAGE/LANE`` or ``-``, a slot is ``item:kind[pair][:T|:C]``.

    >>> from incumbent.clock import EPOCH
    >>> impression("r1", EPOCH, "u1", "home", "-", ["a:pair3:T"]).slots
    [Slot(position=1, item_id='a', kind='pair', owner='candidate', pair_id=3, champion_rank=None, candidate_rank=None, propensity=None, score=None, group_id=None)]
    """  # noqa: E501
    experiment, stage, lane = (None, None, "none") if where == "-" else where.split("/")
    return Impression(
        event_id=event_id(name, time), request_id=name, ranking_id=ranking or name, time=time, user_id=user,
        surface=surface, mode="shadow" if stage == "shadow" else "interleave" if lane == "interleave" else "champion",
        lane=lane, plan="0" * 16, slots=[_slot(at, word) for at, word in enumerate(slots, 1)], models=[], page=page,
        experiment=experiment, stage=stage,  # type: ignore[arg-type]
    )


def _slot(position: int, word: str) -> Slot:
    item, kind, owner = ([*word.split(":"), "", ""])[:3]
    name = kind.rstrip("0123456789") or "shared"
    pair = kind[len(name):] if kind else ""
    return Slot(position, item, name, OWNERS.get(owner),  # type: ignore[arg-type]
                int(pair) if pair else None)
