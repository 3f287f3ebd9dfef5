"""What a comparison is asked: which columns, which windows, how many false alarms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal

from incumbent.drift import alarm, alarm_items, alarm_numeric
from incumbent.errors import ConfigError, near
from incumbent.stats.fixed import check_alpha

Every = Literal["hour", "day", "week"]
LENGTHS_US: dict[str, int] = {"hour": 3_600_000_000, "day": 86_400_000_000, "week": 604_800_000_000}
#: kind of column -> what may be asked of it by name
STATISTICS = {"vector": tuple(alarm.MEASURES), "number": tuple(alarm_numeric.GROWTH), "ids": tuple(alarm_items.GROWTH)}
#: what is done, how much of it, and how much there is (None where nobody knows)
Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, kw_only=True)
class Options:
    """`time` cuts windows of one `every`; without it rows are the null.

    `alpha` is the chance of any alarm, over all columns, where nothing drifted. `columns` are those compared (None: all
    that can be), `ignore` those that are not; `ids` are read as ids, though they hold numbers. `item`, `title` and
    `category` name things in the explanation; `segments` are told apart in it. `versions` pairs the vectors of both
    sides by `item`, as two versions of one space. `tail` extrapolates beyond what the windows can say. `statistics` are
    those that judge (None: all): states hold what these need and no more, and what only the others see goes unseen.
    """

    time: str | None = None
    every: Every = "day"
    alpha: float = 0.05
    tail: Literal["student", "pareto"] | None = None
    columns: tuple[str, ...] | None = None
    statistics: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    item: str | None = None
    title: str | None = None
    category: str | None = None
    segments: tuple[str, ...] = ()
    versions: bool = False
    least_rows: int = 30
    seed: int = 0

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        if self.every not in LENGTHS_US:
            raise ConfigError("no such window", got=self.every, expected=", ".join(LENGTHS_US), field="every")
        if self.tail is not None and (self.tail not in ("student", "pareto") or self.time is None):
            raise ConfigError("a tail is extrapolated from windows of time", got=self.tail, field="tail",
                              expected="student or pareto, and a time column")
        if self.versions and self.item is None:
            raise ConfigError("versions are compared by the items that both hold", field="versions",
                              expected="an item column", hint="item='item_id'")
        known = {name for names in STATISTICS.values() for name in names}
        for name in self.statistics or ():
            if name not in known:
                raise ConfigError("no such statistic", got=name, field="statistics", hint=near(name, known),
                                  expected="; ".join(f"{kind}: {', '.join(of)}" for kind, of in STATISTICS.items()))
        if self.statistics == ():
            raise ConfigError("no statistic is asked for", got=(), field="statistics", expected="one or more, or None")
        if self.least_rows < 1:
            raise ConfigError("least_rows must be 1 or more", got=self.least_rows, field="least_rows")
        if not isinstance(self.seed, Integral) or not 0 <= self.seed < 2 ** 32:
            raise ConfigError("a seed is a whole number", got=self.seed, expected="from 0 to below 2**32", field="seed")

    @classmethod
    def of(cls, **given: Any) -> Options:
        """Options from a call: a bare name stands for a list of one."""
        unknown = set(given) - set(cls.__dataclass_fields__)
        if unknown:
            raise ConfigError("unknown option of a comparison", got=sorted(unknown),
                              expected=", ".join(cls.__dataclass_fields__))
        for name in ("columns", "statistics", "ignore", "ids", "segments"):
            value = given.get(name)
            if value is not None:
                given[name] = (value,) if isinstance(value, str) else tuple(_names(name, value))
        return cls(**given)

    def asked(self, kind: str) -> tuple[str, ...] | None:
        """The statistics that judge a column of this kind; None for all."""
        return None if self.statistics is None else tuple(
            name for name in STATISTICS[kind] if name in self.statistics)

    @property
    def named(self) -> list[tuple[str, str]]:
        """Every column that is named, with the option that names it."""
        one = [(name, field) for field in ("time", "item", "title", "category")
               if (name := getattr(self, field)) is not None]
        return one + [(name, field) for field in ("columns", "ignore", "ids", "segments")
                      for name in getattr(self, field) or ()]


def _names(field: str, value: Sequence[Any]) -> Sequence[str]:
    if not all(isinstance(one, str) for one in value):
        raise ConfigError("columns are named by text", got=list(value), field=field)
    return value
