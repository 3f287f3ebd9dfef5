"""The two histograms: `LogHistogram` for quantiles to show, `FixedHistogram` for distributions to compare."""

from incumbent.stats.fixed_histogram import FixedHistogram
from incumbent.stats.log_histogram import LogHistogram

__all__ = ["FixedHistogram", "LogHistogram"]
