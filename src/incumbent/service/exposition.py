"""Snapshots of several processes as one Prometheus exposition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from incumbent.service.metrics import CATALOGUE, LATENCY_S, Labels, Snapshot

STALE_S = 10.0  # a gauge of a process that has been silent this long is left out


def expose(snapshots: list[Snapshot], now: float) -> bytes:
    """Counters and histograms summed over all snapshots, gauges over the fresh ones, as text format 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(snapshots, now))
    return generate_latest(registry)


class _Collector(Collector):
    """The merged snapshots as metric families."""

    def __init__(self, snapshots: list[Snapshot], now: float) -> None:
        self._all = snapshots
        self._fresh = [s for s in snapshots if now - s.at < STALE_S]

    def collect(self) -> Iterator[Metric]:
        for name, (kind, labels, text) in CATALOGUE.items():
            if kind == "histogram":
                histogram = HistogramMetricFamily(name, text, labels=labels)
                for key, row in _sum_rows(self._all, name).items():
                    histogram.add_metric(key, _buckets(row), row[-1])
                yield histogram
            elif kind == "counter":
                counter = CounterMetricFamily(name, text, labels=labels)
                for key, value in _sum_values(self._all, name).items():
                    counter.add_metric(key, value)
                yield counter
            else:
                gauge = GaugeMetricFamily(name, text, labels=labels)
                for key, value in self._gauge(name).items():
                    gauge.add_metric(key, value)
                yield gauge

    def _gauge(self, name: str) -> dict[Labels, float]:
        """Of several processes the largest counts; processes that are silent do not."""
        if name == "incumbent_up":
            parts = [s.part for s in self._fresh]
            return {(part,): float(parts.count(part)) for part in sorted(set(parts))}
        out: dict[Labels, float] = {}
        for snapshot in self._fresh:
            for key, value in snapshot.values.get(name, ()):
                out[key] = max(value, out.get(key, value))
        return out


def _sum_values(snapshots: Iterable[Snapshot], name: str) -> dict[Labels, float]:
    out: dict[Labels, float] = {}
    for snapshot in snapshots:
        for key, value in snapshot.values.get(name, ()):
            out[key] = out.get(key, 0.0) + value
    return out


def _sum_rows(snapshots: Iterable[Snapshot], name: str) -> dict[Labels, list[float]]:
    out: dict[Labels, list[float]] = {}
    for snapshot in snapshots:
        for key, row in snapshot.rows.get(name, ()):
            out[key] = [a + b for a, b in zip(out[key], row, strict=True)] if key in out else row
    return out


def _buckets(row: list[float]) -> list[tuple[str, float]]:
    """Cumulative counts, as the format wants them."""
    total, out = 0.0, []
    for bound, count in zip([*map(str, LATENCY_S), "+Inf"], row, strict=False):
        total += count
        out.append((bound, total))
    return out
