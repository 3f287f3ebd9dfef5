"""BlockedLanguage: words that no shop wants to have said, found through letter case, look-alikes and hidden letters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from incumbent.metrics.scorer import Facts, Text

#: abuse that is abuse in every shop; a shop adds its own
WORDS = (
    "idiot", "moron", "imbecile", "retard", "bastard", "bitch", "whore", "slut", "asshole", "dickhead", "cunt", "fuck",
    "fucking", "shit", "bullshit", "motherfucker", "kill yourself", "go die", "you are stupid", "you are ugly",
    "you are worthless", "nobody likes you", "shut up", "i hate you", "scum", "subhuman")
_HIDDEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
#: Cyrillic and Greek letters that are drawn as Latin ones
_DRAWN = str.maketrans("аесорхуіѕјкмтвнԁԛԝαειοκνρτυχ", "aecopxyisjkmtbhdqwaeiokvptux")
_ALIKE = str.maketrans({"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s"})


class BlockedLanguage:
    """A reason per word (or phrase) of `words` and `more`, less `without`, as whole words.

    >>> BlockedLanguage()(Text("You 1d1ot, buy it"), Facts())
    ['blocked: idiot']
    >>> BlockedLanguage(more=("cheapskate",), without=("idiot",))(Text("An idiot's guide for CHEAPSKATES? no"), Facts())
    []
    """

    def __init__(self, words: Sequence[str] = WORDS, more: Sequence[str] = (), without: Sequence[str] = ()) -> None:
        listed = {unmasked(word): word for word in (*words, *more)}
        kept = sorted(set(listed) - {unmasked(word) for word in without}, key=len, reverse=True)
        self._shown = listed
        self._find = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, kept)) + r")(?!\w)") if kept else None

    def __call__(self, text: Text, facts: Facts) -> list[str]:
        """A reason per blocked word, each once."""
        if self._find is None:
            return []
        lower = unmasked(text.text)
        found = [*self._find.findall(lower), *self._find.findall(lower.translate(_ALIKE))]
        return [f"blocked: {self._shown.get(word, word)}" for word in dict.fromkeys(found)]


def unmasked(text: str) -> str:
    """A text as it reads: compatible letters, no hidden ones, no marks on letters, one space, no case, one alphabet.

    >>> unmasked("S\u200bHÍТ  happens")
    'shit happens'
    """
    letters = unicodedata.normalize("NFKD", _HIDDEN.sub("", text))
    plain = "".join(one for one in letters if not unicodedata.combining(one)).casefold()
    return " ".join(plain.translate(_DRAWN).split())
