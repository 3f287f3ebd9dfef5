"""drift_status: how drift stands, and what a baseline holds. Plain JSON values."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from incumbent.config import Config
from incumbent.drift.before_labels import METHOD, quality_before_labels
from incumbent.drift.delay import final_rate, maturity
from incumbent.drift.null import merged
from incumbent.drift.vector_age import age_s, age_update, age_zero, oldest_s
from incumbent.events.schema import Finding
from incumbent.events.window import Window
from incumbent.loop.drift import baselines, names, replaced, rewrites, space_versions
from incumbent.loop.drift import ledger as drift_ledger
from incumbent.loop.drift.baselines import Baseline
from incumbent.loop.drift.due import next_look
from incumbent.loop.drift.shards import grid_of
from incumbent.loop.drift.watch import VERSIONS, Watch, live, watches
from incumbent.loop.tallies import parts
from incumbent.stats.delay import Delay
from incumbent.stats.reliability import Reliability
from incumbent.stores.store import Control, Lake


def status(control: Control, config: Config, now: datetime, *, made: dict[str, list[Watch]] | None = None,
           ) -> dict[str, Any]:
    """The baseline in force, how far judging has come, and every judge with its standing and part of the budget.

    `made` keeps what was made of a baseline from one call to the next, for whoever asks often.
    ``monitors`` come with open incidents first, ``next`` says when a window can be judged; ``cohorts`` are conversions
    that are still to come, per surface; ``before_labels`` estimates what the scores of windows are worth whose clicks
    may still come.
    """
    found: dict[str, Any] = {
        "enabled": config.drift.enabled, "window": config.drift.window, "time_zone": config.drift.time_zone,
        "false_alarms_per_month": config.drift.false_alarms_per_month,
        "multiplicity": config.drift.multiplicity, "now": now.isoformat(),
        "baseline": None, "next": None, "until": {}, "monitors": [], "refused": {}, "unwatched": [], "cohorts": [],
        "before_labels": []}
    baseline = baselines.active(control)
    if baseline is None:
        return {**found, "reason": f"no baseline stands: {baselines.HOW}"}
    ledger = drift_ledger.read(control)
    gone = replaced.of(ledger, baseline)
    key = "/".join([baseline.id, baseline.streams_hash, *sorted(gone)])
    made = {} if made is None else made
    if key not in made:
        made.clear()
        made[key] = watches(baseline, config.drift, gone)[0]
    watched = made[key]
    stale = _stale(baseline, config)
    rows = [_monitor(watch, ledger.standings.get(watch.name, drift_ledger.Standing()), stale,
                     next_look(watch, ledger, config.drift, now), now) for watch in watched]
    rows.sort(key=lambda row: (row["open"] is None, row["status"] == "ok", row["name"]))
    return {**found, "baseline": summary(baseline, in_force=True), "reason": stale,
            "next": min((row["next"]["at"] for row in rows if row["next"]), default=None),
            "until": {group: until.isoformat() for group, until in ledger.until.items()}, "monitors": rows,
            "refused": {watch.name: watch.part.reason for watch in watched if not watch.part.honoured},
            "unwatched": [*_unwatched(baseline, config), *_versions(control, baseline, config, gone)],
            "cohorts": [] if stale else _cohorts(control, baseline, config, now),
            "before_labels": [] if stale else _before_labels(control, baseline, config, now)}


def _stale(baseline: Baseline, config: Config) -> str | None:
    told = baselines.changed(baseline, config.drift)
    return f"nothing is judged, {told} since the baseline was built: {baselines.AGAIN}" if told else None


def _monitor(watch: Watch, standing: drift_ledger.Standing, stale: str | None,
             look: tuple[Window, datetime], now: datetime) -> dict[str, Any]:
    """One judge as it stands, ``refused`` where it can never alarm; ``next`` is the window that it sees next and when
    it can, None where it sees none."""
    plain: dict[str, Any] = msgspec.to_builtins(standing)
    stale = f"not judged, {watch.outdated}" if stale is None and watch.outdated else stale
    judged, reason = stale is None and watch.part.honoured, standing.reason
    if stale is not None:
        reason = stale
    elif not watch.part.honoured:
        reason = watch.part.reason
    elif standing.status == "waiting":
        reason = f"not judged yet: {'due now' if look[1] <= now else f'next at {look[1]:%Y-%m-%d %H:%M} UTC'}"
    return {"name": watch.name, "monitor": watch.judge.monitor, "stream": watch.judge.stream,
            "group": watch.judge.group, "status": "no_data" if stale else standing.status if judged else "refused",
            "severity": standing.severity, "reason": reason, "since": plain.get("since"), "open": standing.open,
            "next": {"start": look[0].start.isoformat(), "end": look[0].end.isoformat(), "at": look[1].isoformat()}
            if judged else None, "recent": plain.get("recent", []),
            "budget": {"alpha": watch.part.alpha, "false_alarms_per_month": watch.part.false_alarms_per_month,
                       "method": watch.part.monitor.kind, "honoured": watch.part.honoured,
                       "resolution": watch.part.resolution, "needs_windows": watch.part.needs_windows,
                       "windows": watch.part.monitor.windows, "soonest": watch.part.soonest or (
                           1 if watch.part.honoured else None)}}


def _unwatched(baseline: Baseline, config: Config) -> list[str]:
    """Champions of the configuration that the baseline has no items or vectors of."""
    out = []
    for name, surface in config.surfaces.items():
        says = config.models[surface.champion].embedding_version
        if names.stream("items", name, surface.champion) not in baseline.about:
            out.append(f"{name}: its champion {surface.champion} has no baseline")
        elif says is not None and names.stream("skew", name, surface.champion) not in baseline.about:
            out.append(f"{name}: the baseline holds nothing of the vectors that its champion {surface.champion} serves "
                       f"(it says version {says})")
        if names.stream("response", name) in baseline.about and names.stream(names.NDCG, name) not in baseline.about:
            out.append(f"{name}: the baseline holds no NDCG; it saw no click, or an older version built it")
    return out


def _versions(control: Control, baseline: Baseline, config: Config, gone: Collection[str]) -> list[str]:
    """Versions of spaces that are still served and not watched: too old, or the baseline was not carried over to them,
    each with what was last said of it."""
    told = msgspec.json.decode(control.cursor(space_versions.CURSOR) or "{}", type=space_versions.Told)
    told = told if told.baseline == baseline.id else space_versions.Told()
    span = timedelta(hours=config.drift.recovery_windows * grid_of(config.drift).hours)
    old, names_ = ([name for name in sorted(some) if replaced.served(name, told.last, control, span)] for some in (
        baseline.about.keys() - gone - live(baseline.about, gone).keys(), told.status.keys() - baseline.about.keys()))
    last = {name: next((one.reason for one in control.conclusions("finding", f"stream:{name}", 20)
                        if isinstance(one, Finding) and one.check == "drift:version"), None) for name in names_}
    return [*(f"{name}: {VERSIONS} newer versions of its space are" for name in old),
            *(f"{name}: {told.status[name]}" + (f", {last[name]}" if last[name] else "") for name in names_)]


def _cohorts(control: Control, baseline: Baseline, config: Config, now: datetime) -> list[dict[str, Any]]:
    """Each surface's windows of which purchases are still to come: so far, how mature, and what is to be expected."""
    grid, out = grid_of(config.drift), []
    for stream in sorted(baseline.about):
        if not stream.startswith("delay/") or baselines.outdated(baseline, config.drift, stream):
            continue
        reference = merged([one.state for one in baseline.windows(stream)])
        hash_ = baseline.frames[stream].zero.config_hash
        since = max(now - timedelta(days=config.drift.conversion_days), baseline.begin(baseline.about[stream], grid))
        for window in grid.inside(Window(since, now)) if since < now else ():
            shards = [Delay.from_bytes(row.data) for row in control.range(names.key(stream, window.start))
                      if row.config_hash == hash_]
            if shards:
                young = cohort(merged(shards), (now - window.end).days)
                out.append({"stream": stream, "start": window.start.isoformat(),
                            "so_far": young.estimates()["so_far"].to_dict(),
                            "maturity": maturity(young, reference).to_dict(),
                            "final": final_rate(young, reference).to_dict()})
    return out


def _before_labels(control: Control, baseline: Baseline, config: Config, now: datetime) -> list[dict[str, Any]]:
    """Of every window of scores whose clicks may still come: rate, Brier loss and AUC, estimated, and said to be."""
    grid, out, lag = grid_of(config.drift), [], timedelta(hours=config.drift.click_hours)
    for stream in sorted(baseline.about):
        if not stream.startswith("calibration/") or baselines.outdated(baseline, config.drift, stream):
            continue
        hash_ = baseline.frames[stream].zero.config_hash
        since = max(now - lag - timedelta(hours=grid.hours), baseline.begin(baseline.about[stream], grid))
        for window in grid.inside(Window(since, now)) if since < now else ():
            shards = [Reliability.from_bytes(row.data) for row in control.range(names.key(stream, window.start))
                      if row.config_hash == hash_]
            if shards and window.end + lag > now:
                told = quality_before_labels(merged(shards), merged([one.state for one in baseline.windows(stream)]))
                out.append({"stream": stream, "start": window.start.isoformat(), "method": METHOD,
                            **{name: estimate.to_dict() for name, estimate in told.items()}})
    return out


def cohort(state: Delay, age: int) -> Delay:
    """A window's triangle, stored at its full age, as it could be seen `age` whole days after the window.

    >>> full = Delay.zero(ages=3).update([3.0] * 4, [1.0, 3.0, None, None])
    >>> young = cohort(full, 1)
    >>> young.shown.tolist(), young.conversions
    ([0, 4, 0, 0], 1)
    """
    age = min(max(age, 0), state.ages)
    late = state.converted[-1][:age + 1]
    ages, counts = [float(age)] * (age + 2), [*late.tolist(), int(state.n) - int(late.sum())]
    return Delay.zero(ages=state.ages).update(ages, [*map(float, range(age + 1)), float("nan")], counts)


def subjects(control: Control) -> list[str]:
    """What findings of drift are about: every monitor, every version of a space that was compared, every baseline."""
    told = control.cursor(space_versions.CURSOR)
    known = {*drift_ledger.read(control).standings, *rewrites.told(control), *(
        msgspec.json.decode(told, type=space_versions.Told).status if told is not None else ())}
    return [*(f"stream:{name}" for name in sorted(known)),
            *sorted({f"baseline:{row.name}" for row in control.baselines()})]


def summary(baseline: Baseline, *, in_force: bool) -> dict[str, Any]:
    """A baseline in one line."""
    row = baseline.row
    return {"name": row.name, "version": row.version, "from": row.since.isoformat(), "to": row.until.isoformat(),
            "window": row.window, "time_zone": row.time_zone, "built_at": row.built_at.isoformat(), "hash": row.hash,
            "in_force": in_force, "windows": row.definition.get("windows"), "models": row.definition.get("models", {}),
            "spaces": row.definition.get("spaces", {}), "left_out": row.definition.get("left_out", {}),
            "unstable": row.definition.get("unstable", {})}


def listed(control: Control) -> list[dict[str, Any]]:
    """All baselines, by name and version."""
    pinned = baselines.active(control)
    return [summary(Baseline(row, control), in_force=pinned is not None and pinned.id == f"{row.name}@{row.version}")
            for row in control.baselines()]


def shown(control: Control, name: str, version: int | None = None) -> dict[str, Any]:
    """One baseline with what it holds of every stream; `NotFoundError` with what there is."""
    baseline, pinned = baselines.find(control, name, version), baselines.active(control)
    return {**summary(baseline, in_force=pinned is not None and pinned.id == baseline.id),
            "champions": baseline.row.definition.get("champions", {}),
            "streams": [{"stream": stream, **msgspec.to_builtins(about)}
                        for stream, about in sorted(baseline.about.items())]}


def ages(lake: Lake, now: datetime) -> list[dict[str, Any]]:
    """How old the vectors of every version of every space are: the median and the oldest."""
    rows = lake.scan("latest_vector", columns=["space", "entity", "version", "time"])
    out = []
    for group, own in parts(rows, ["space", "entity", "version"]):
        made = np.asarray(own["time"].cast(pa.int64())) / 1e6
        state = age_update(age_zero(), made, now.timestamp())
        out.append({**group, "vectors": own.num_rows, "median": age_s(state).to_dict(),
                    "oldest": oldest_s(state).to_dict()})
    return out
