"""Claims: names in quotation marks and prices in a text, held against the catalogue. Rules, and no model.

A name is what stands in quotation marks; it must be the title of an item, letter case aside, or part of one. A price is
an amount beside a currency; it must be that of the item that the text is about, or of one on its page.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from incumbent.metrics.scorer import Facts, Text

_DOLLARS = ("USD", "CAD", "AUD", "NZD")
SYMBOLS = {"€": ("EUR",), "euro": ("EUR",), "euros": ("EUR",), "$": _DOLLARS, "dollar": _DOLLARS, "dollars": _DOLLARS,
           "£": ("GBP",), "¥": ("JPY", "CNY"), "円": ("JPY",), "元": ("CNY",), "₹": ("INR",), "zł": ("PLN",),
           "kr": ("SEK", "NOK", "DKK", "ISK")}
NO_MINOR = frozenset({"JPY", "KRW", "VND", "CLP", "ISK", "PYG", "UGX", "XAF", "XOF"})  # whole units alone
THREE = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})  # a thousand minor units in a whole one
_DIGITS = 18  # more than any price has: what is longer is cut, and is no item's price either way
#: a straight mark behind a digit is inches, a raised one before a letter an apostrophe
_NAME = re.compile(r'(?<!\d)"([^"\n]{2,120})"|“([^”\n]{2,120})”|«([^»\n]{2,120})»|„([^“”\n]{2,120})[“”]|'
                   r'‘([^‘\n]{2,120}?)’(?!\w)|‹([^›\n]{2,120})›|「([^」\n]{2,120})」')
_AMOUNT = r"\d{1,3}(?:[ .,'\u00a0]\d{3})+(?:[.,]\d{1,3})?|\d+(?:[.,]\d{1,3})?"
_UNIT = r"€|\$|£|¥|円|元|₹|zł|kr\b|(?i:euros?|dollars?)\b|[A-Z]{3}\b"
_PRICE = re.compile(rf"(?P<before>{_UNIT})\s?(?P<first>{_AMOUNT})(?!\d)|"
                    rf"(?<![\d.,])(?P<second>{_AMOUNT})\s?(?P<after>{_UNIT})")
#: codes that are read as currencies in any text; of the others ("TOP 10", "ALL 3") only those of the item's own price
CODES = frozenset(("EUR", "USD", "GBP", "CHF", "SEK", "NOK", "DKK", "PLN", "CZK", "JPY", "CNY", "INR", "CAD", "AUD",
                   "NZD", "BRL", "MXN"))


class Claims:
    """What a text claims and the catalogue does not have; a price within `tolerance` minor units is had.

    >>> facts = Facts.of([("a", "Winter Boots", 9900, "EUR")])
    >>> Claims()(Text('The "Winter boots" for €99', item_id="a"), facts)
    []
    >>> Claims()(Text('The "Moon Boots" for 49.90 EUR', item_id="a"), facts)
    ["names 'Moon Boots', which no item is called", 'states 49.90 EUR, the catalogue has 99.00 EUR']
    """

    def __init__(self, tolerance: int = 0) -> None:
        self._tolerance = tolerance
        self._titles: tuple[Facts | None, str] = (None, "")

    def __call__(self, text: Text, facts: Facts) -> list[str]:
        """A reason per name and per price that is not had."""
        found = []
        if facts.titles:
            titles = self._all(facts)
            found += [f"names {name!r}, which no item is called" for name in names(text.text)
                      if plain(name) not in titles]
        own = [facts.prices[item] for item in ((text.item_id,) if text.item_id else text.shown) if item in facts.prices]
        if own:
            found += [f"states {told}, the catalogue has {', '.join(sorted({shown(*one) for one in own}))}"
                      for told, amounts in prices(text.text, frozenset(had for _, had in own))
                      if not any(currency == had and abs(minor - value) <= self._tolerance
                                 for minor, currency in amounts for value, had in own)]
        return found

    def _all(self, facts: Facts) -> str:
        """All titles as one text, made once per catalogue: a name is had where it stands in it."""
        if self._titles[0] is not facts:
            self._titles = (facts, "\x1f".join(["", *map(plain, facts.titles.values()), ""]))
        return self._titles[1]


def names(text: str) -> Iterator[str]:
    """What stands in quotation marks.

    >>> list(names('Try "Boots" or “Hats”.'))
    ['Boots', 'Hats']
    """
    for match in _NAME.finditer(text):
        yield next(part for part in match.groups() if part is not None).strip()


def prices(text: str, also: frozenset[str] = frozenset()) -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """Every stated price as it stands, and what it may mean, in minor units; codes of `also` are currencies too.

    >>> list(prices("now 1.299,50 EUR, before £ 15"))
    [('1.299,50 EUR', [(129950, 'EUR')]), ('£ 15', [(1500, 'GBP')])]
    """
    for match in _PRICE.finditer(text):
        unit, amount = match["before"] or match["after"], match["first"] or match["second"]
        currencies = SYMBOLS.get(unit.lower()) or ((unit,) if unit in CODES or unit in also else ())
        if currencies:
            yield match[0], [(minor(amount, currency), currency) for currency in currencies]


def minor(amount: str, currency: str) -> int:
    """An amount in minor units: one or two digits behind the last point or comma (three, of dinars) are a fraction.

    >>> minor("1 299", "EUR"), minor("12,5", "EUR"), minor("1,200", "JPY"), minor("1.250", "KWD")
    (129900, 1250, 1200, 1250)
    """
    places = _places(currency)
    match = re.fullmatch(rf"(.*)[.,](\d{{1,{max(places, 2)}}})", amount)
    whole, fraction = (match[1], match[2]) if match else (amount, "")
    units = int(re.sub(r"\D", "", whole)[:_DIGITS] or "0")
    return units * int(10**places) + int(fraction[:places].ljust(places, "0") or "0")


def shown(value: int, currency: str) -> str:
    """A price as the reason states it."""
    places = _places(currency)
    whole, fraction = divmod(value, 10**places)
    return f"{whole}.{fraction:0{places}d} {currency}" if places else f"{whole} {currency}"


def _places(currency: str) -> int:
    return 0 if currency in NO_MINOR else 3 if currency in THREE else 2


def plain(name: str) -> str:
    """A name without letter case, width and doubled spaces."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
