"""`incumbent.compare`: two data sets compared, with a report, one HTML file that asks nothing of the network."""

from __future__ import annotations

import html
from functools import cache
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any

from incumbent.dashboard import charts, text
from incumbent.dashboard.progress import bar
from incumbent.dashboard.shares_chart import shares
from incumbent.dashboard.space import space
from incumbent.dashboard.windows_chart import windows
from incumbent.drift.compare import compared
from incumbent.drift.comparison.options import Options
from incumbent.drift.comparison.result import Comparison, StreamTold
from incumbent.drift.comparison.text import ranked

CHARTS = 30  # columns of which windows are drawn


class Report(Comparison):
    """A `Comparison` that draws itself: `to_html` makes one file, and a notebook shows it."""

    def to_html(self, path: str | PathLike[str] | None = None) -> str:
        """The report as one HTML page, light and dark, charts as SVG, no script and no network; written where a path is
        given."""
        from jinja2 import Environment, PackageLoader, StrictUndefined

        jinja = Environment(loader=PackageLoader("incumbent.dashboard"), autoescape=True, trim_blocks=True,
                            lstrip_blocks=True, undefined=StrictUndefined)
        jinja.filters.update(tone=text.tone, number=text.number)
        from incumbent import __version__

        drawn = [_drawn(self, one, i < CHARTS) for i, one in enumerate(ranked(self))]
        page = jinja.get_template("comparison.html").render(found=self, columns=drawn, style=_style(),
                                                            version=__version__)
        if path is not None:
            Path(path).write_text(page, encoding="utf-8")
        return page

    def _repr_html_(self) -> str:
        return (f'<iframe title="comparison" srcdoc="{html.escape(self.to_html(), quote=True)}" '
                'style="width:100%;height:640px;border:0"></iframe>')

    def __repr__(self) -> str:
        return f"<Report {self.status}: {self.reason}>"


def compare(baseline: Any, current: Any, *, progress: bool = True, **options: Any) -> Report:
    """Compare two data sets column by column, and say with a stated chance of a false alarm whether the current drifted.

    Paths (Parquet, CSV, .npy, .npz), pandas, Polars or PyArrow data frames, arrays, mappings of arrays. Options are
    those of `incumbent.drift.comparison.options.Options`: `time` cuts windows (`every` hour, day or week), `item`,
    `title` and `category` name what moved, `segments` tell mix from change within, `versions` pairs two versions of a
    space by item. A bar appears on standard error after two seconds where that is a terminal. `DataError` and
    `ConfigError` for what cannot be read or is not there; what is wrong with one column is its status.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> found = compare({"score": rng.normal(size=3000)}, {"score": rng.normal(0.5, size=500)})
    >>> found.status, found.stream("score").status, "<svg" in found.to_html()
    ('drift', 'drift', True)
    """  # noqa: E501
    asked = Options.of(**options)
    if not progress:
        return _report(compared(baseline, current, asked))
    with bar() as step:
        return _report(compared(baseline, current, asked, progress=step))


def _report(found: Comparison) -> Report:
    return Report(**{name: getattr(found, name) for name in Comparison.__dataclass_fields__})


def _drawn(found: Comparison, one: StreamTold, chart: bool) -> dict[str, Any]:
    """A column as the template takes it."""
    spec = None
    if chart and found.null == "windows":
        points = [{"window": w.window, "side": w.side, "score": w.score, "off": w.off, "n": w.n, "reason": w.reason}
                  for w in one.windows if w.score is not None or w.status != "ok"]
        spec = windows(points, one.threshold, how=one.method.partition(", ")[2])
    moved = shares(one.changes) if one.status == "drift" else None
    picture = space(one.explanation.picture.to_dict()) if one.explanation is not None else None
    off = sum(w.off for w in one.windows if w.side == "current")
    return {"told": one, "windows": charts.inline(spec, 900) if spec else None, "off": off,
            "shares": charts.inline(moved, 900) if moved else None,
            "judged": sum(w.score is not None for w in one.windows if w.side == "current"),
            "space": charts.inline(picture, 900) if picture and one.status == "drift" else None}


@cache
def _style() -> str:
    return (resources.files("incumbent.dashboard") / "static" / "app.css").read_text(encoding="utf-8")
