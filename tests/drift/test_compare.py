"""Whole comparisons: what drifted is found and told, what did not stays quiet, with and without a time column."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

import incumbent
from incumbent.drift import alarm
from incumbent.drift.compare import compared
from incumbent.drift.comparison.options import Options
from incumbent.errors import ConfigError, DataError
from incumbent.stats.vectors import Vectors

KINDS = ["lunch bag", "garden chair", "wool hat", "candle", "tea pot"]
MIDDLES = np.random.default_rng(4).normal(size=(20, 8)) * 4


def shop(seed, days, *, start="2026-03-01", rows=200, chairs=0.0, price=1.0, new=0.0, turn=None):
    """Days of a small shop, each a little off: vectors of 20 items, their prices, ids and titles."""
    rng = np.random.default_rng(seed)
    at, items, vectors, prices = [], [], [], []
    for day in range(days):
        item = rng.integers(0, 20, rows)
        item = np.where(rng.random(rows) < chairs, 1, item)
        vectors.append(MIDDLES[item] + rng.normal(size=(rows, 8)) + 0.05 * rng.normal(size=8))
        prices.append(rng.lognormal(2 + 0.02 * rng.normal(), 0.4, rows) * price)
        seconds = np.sort(rng.integers(0, 86_400, rows)).astype("m8[s]")
        at.append(np.datetime64(start, "us") + np.timedelta64(day, "D") + seconds)
        items += [f"new{i}" if fresh else f"i{i}" for i, fresh in zip(item, rng.random(rows) < new, strict=True)]
    rows_of = np.concatenate(vectors).astype(np.float32)
    return {"at": np.concatenate(at), "vector": rows_of if turn is None else (rows_of @ turn.T).astype(np.float32),
            "price": np.concatenate(prices), "item_id": np.array(items),
            "title": np.array([f"{KINDS[int(i.lstrip('inew')) % 5]} {i}" for i in items]),
            "country": rng.choice(["uk", "fr"], days * rows)}


BASE = shop(1, 30)
WINDOWS = Options(time="at", item="item_id", title="title", segments=("country",))


def statuses(found):
    return {stream.name: stream.status for stream in found.streams}


@pytest.mark.parametrize("options", [WINDOWS, Options(item="item_id", title="title")])
def test_quiet_is_quiet_and_a_change_is_found_where_it_is(options):
    quiet = compared(BASE, shop(2, 5, start="2026-04-01"), options)
    assert quiet.status == "ok" and set(statuses(quiet).values()) == {"ok"}
    found = compared(BASE, shop(3, 5, start="2026-04-01", chairs=0.2), options)
    assert found.status == "drift" and {"vector", "item_id"} <= {
        one.name for one in found.streams if one.status == "drift"}
    assert found.stream("price").status == "ok"
    for name, some in {"vector": {"frechet", "mmd2", "clusters_psi"}, "item_id": {"popularity_js", "new"},
                       "price": {"wasserstein", "ks", "numeric_psi"}}.items():
        assert some <= dict(found.stream(name).statistics).keys()
    moved, still = (dict(one.stream("vector").statistics)["frechet"] for one in (found, quiet))
    assert moved > 5 * still > 0
    if options.segments:
        felt = {one.name: {part.segment: part.part for part in one.segments[0].mixes} for one in found.streams}
        assert felt["item_id"].keys() == felt["vector"].keys() == {"uk", "fr"}
        assert sum(felt["item_id"].values()) == pytest.approx(1) and "country uk: " in str(found)
    told = found.stream("vector").explanation
    named = next(cluster for cluster in told.clusters if cluster.words)
    assert named.current > named.reference and named.after == ("garden chair i1",) and "chair" in named.words
    assert told.breakdowns[-1].by == "item" and told.breakdowns[-1].changes[0].name == "garden chair i1"
    assert found.stream("item_id").changes[0].name == "i1"
    assert found.stream("item_id").why.startswith("i1: ") and "chair" in found.stream("vector").why
    heads = [next(line for line in one.text().splitlines() if line.startswith("column")) for one in (found, quiet)]
    assert heads[0].split()[-1] == "why" and found.stream("item_id").why in found.text()
    assert heads[1].split()[-1] == "off", "no column of nothing"
    assert found.null == ("windows" if options.time else "rows")
    assert any(("rows are the null" in note) == (options.time is None) for note in found.notes)


@pytest.mark.parametrize("options", [{"time": "at"}, {}])
def test_statistics_asked_for_judge_alone_and_keep_no_more_than_they_need(options):
    asked = Options(**options, statistics=("largest_shift", "ks"))
    quiet = compared(BASE, shop(2, 5, start="2026-04-01"), asked)
    found = compared(BASE, shop(3, 5, start="2026-04-01", chairs=0.2, price=1.2), asked)
    assert statuses(quiet) == {"vector": "ok", "price": "ok"}, "ids have none of them"
    assert statuses(found) == {"vector": "drift", "price": "drift"}
    assert dict(found.left_out)["item_id"] == "no statistic of ids columns was asked for"
    assert [[part.name for part in one.components] for one in found.streams] == [["largest_shift"], ["ks"]]
    assert found.notes[-1].startswith("judged by largest_shift, ks alone")
    assert all(one.explanation is None and not one.statistics for one in found.streams) and found.text()
    assert found.streams[0].components[0].score > 5 > quiet.streams[0].components[0].score


PARTS = ("covariance", "frequencies", "centroids", "principal", "random")


@pytest.mark.parametrize("name", list(alarm.MEASURES))
def test_a_frame_that_keeps_what_a_statistic_needs_gives_the_same_figure(name):
    rows = np.random.default_rng(3).normal(size=(3000, 12)) * np.linspace(1, 3, 12) + 1
    light, whole = (Vectors.fit(rows[:1000], seed=1, **settings) for settings in (alarm.light([name]), {}))
    sides = [[zero.update(rows[:1000]), zero.update(rows[1000:] * 1.1)] for zero in (light, whole)]
    measured = [alarm.measure([name])(*pair)[name] for pair in sides]
    if name in ("sliced_wasserstein", "clusters", "mmd"):  # another draw of the random parts: the same up to that
        assert measured[0] == pytest.approx(measured[1], rel=0.25)
    else:
        assert measured[0] == pytest.approx(measured[1], rel=1e-9)
    assert len(light.to_bytes()) < len(whole.to_bytes()) or name == "reconstruction"
    kept = {part for part in PARTS if alarm.light([name]).get(part, True)}
    for other in alarm.MEASURES:
        absent = {part for part in PARTS if alarm.light([other]).get(part, True)} - kept
        if not absent:
            assert alarm.measure([other])(*sides[0])[other] is not None
        elif absent != {"random"}:  # directions of either kind are directions
            with pytest.raises(DataError, match="made without what the statistic needs"):
                alarm.measure([other])(*sides[0])


def test_statistics_that_nobody_knows_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'largest_shift'"):
        Options.of(statistics="largest_shifts")
    with pytest.raises(ConfigError, match="no statistic is asked for"):
        Options.of(statistics=[])
    with pytest.raises(DataError, match="nothing to compare"):
        compared(BASE, BASE, Options(statistics=("delisted",), columns=("price",)))


def test_numbers_and_new_ids_are_told_in_figures():
    found = compared(BASE, shop(4, 5, start="2026-04-01", price=1.15, new=0.1), WINDOWS)
    assert statuses(found)["price"] == statuses(found)["item_id"] == "drift"
    figures = {name: (before, now) for name, before, now in found.stream("price").figures}
    assert figures["mean"][1] / figures["mean"][0] == pytest.approx(1.15, abs=0.03)
    new = {name: now for name, _, now in found.stream("item_id").figures}["new"]
    assert new == pytest.approx(0.1, abs=0.02) and found.stream("item_id").changes[0].name.startswith("(new) new")


def test_a_mix_that_moved_is_told_from_a_change_within():
    rng = np.random.default_rng(6)

    def visits(phones, days, start):
        phone = rng.random(days * 300) < phones
        return {"at": np.datetime64(start, "us") + np.arange(days * 300) // 300 * np.timedelta64(1, "D"),
                "spend": np.where(phone, 1.0, 3.0) + 0.3 * rng.normal(size=days * 300),
                "device": np.where(phone, "phone", "desktop")}

    found = compared(visits(0.5, 30, "2026-03-01"), visits(0.8, 5, "2026-04-01"),
                     Options(time="at", segments=("device",)))
    mean = found.stream("spend").segments[0].mean
    assert found.status == "drift" and mean.mix == pytest.approx(-0.6, abs=0.1) and abs(mean.within) < 0.05


def test_a_rotated_version_is_no_drift_and_a_shuffled_one_names_what_moved():
    turn = np.linalg.qr(np.random.default_rng(8).normal(size=(8, 8)))[0]
    rng = np.random.default_rng(9)
    catalogue = {f"i{k}": rng.normal(size=8) for k in range(400)}

    def day(seed, held, days):
        rng = np.random.default_rng(seed)
        items = rng.choice(list(held), days * 200)
        return {"at": np.datetime64("2026-03-01", "us") + np.arange(days * 200) // 200 * np.timedelta64(1, "D"),
                "item_id": items, "vector": np.array([held[i] for i in items], dtype=np.float32)}

    base, options = day(1, catalogue, 30), Options(time="at", item="item_id", versions=True)
    rotated = compared(base, day(2, {i: turn @ v for i, v in catalogue.items()}, 5), options).stream("vector")
    assert rotated.status == "ok" and rotated.version.reason == "rotation" and rotated.windows
    names = list(catalogue)
    shuffled = compared(base, day(3, dict(zip(names, [catalogue[i] for i in rng.permutation(names)], strict=True)), 5),
                        options).stream("vector")
    assert shuffled.status == "drift" and shuffled.version.reason == "items_moved" and len(shuffled.version.moved) == 10
    alone = Options(time="at", item="item_id", versions=True, statistics=("cosine",))
    asked = compared(base, day(2, {i: turn @ v for i, v in catalogue.items()}, 5), alone).stream("vector")
    assert (asked.status, asked.version.reason, len(asked.components)) == ("ok", "rotation", 1)
    other = compared(base, day(4, {i: v[:4] for i, v in catalogue.items()}, 5), options).stream("vector")
    assert other.status == "no_data" and "version_warmup" in other.reason


def test_a_file_in_batches_is_as_the_same_rows_in_memory(tmp_path):
    now = shop(5, 4, start="2026-04-01", chairs=0.05)
    for name, rows in (("base", BASE), ("now", now)):
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows["vector"].ravel()), 8)
        pq.write_table(pa.table({**{k: v for k, v in rows.items() if k != "vector"}, "vector": vectors}),
                       tmp_path / f"{name}.parquet", row_group_size=777)
    ours, theirs = (compared(*pair, WINDOWS) for pair in (
        (BASE, now), (tmp_path / "base.parquet", tmp_path / "now.parquet")))
    assert statuses(ours) == statuses(theirs)
    for one in ours.streams:
        assert theirs.stream(one.name).p_value == one.p_value
        assert [w.score for w in theirs.stream(one.name).windows] == pytest.approx([w.score for w in one.windows])


def test_missing_values_are_a_status_of_their_own():
    now = shop(6, 5, start="2026-04-01")
    now["price"] = np.full(1000, np.nan)
    found = compared(BASE, now, WINDOWS)
    assert found.stream("price").status == "invalid" and "defective or missing" in found.stream("price").reason
    now["price"] = np.where(np.arange(1000) % 10 == 0, np.nan, shop(6, 5)["price"])
    found = compared(BASE, now, WINDOWS).stream("price")
    assert found.status == "invalid" and found.components[0].name == "absent"
    assert found.reason.startswith("10.0% of the values are missing or broken, 0.0% in the baseline; absent is +")
    now["price"] = 3 * now["price"]  # and what is there has changed too
    found = compared(BASE, now, WINDOWS).stream("price")
    assert found.status == "drift" and {"absent", "ks"} <= {one.name for one in found.components[:4]}


def test_windows_that_are_broken_or_small_or_not_there_are_told():
    now = shop(6, 5, start="2026-04-01")
    day = np.arange(1000) // 200
    broken = now | {"vector": np.where((day > 0)[:, None], 0.0, now["vector"]).astype(np.float32),
                    "price": np.where(day > 0, np.nan, now["price"])}
    found = compared(BASE, broken, WINDOWS)
    assert found.status == "invalid" and statuses(found)["price"] == statuses(found)["vector"] == "invalid"
    assert found.stream("price").reason.startswith("4 of 5 current windows could not be judged: all 200 rows")
    assert any(note.startswith("vector: 4 of 5 current windows") for note in found.notes)
    small = {name: rows[(day > 0) | (np.arange(1000) < 20)] for name, rows in now.items()}
    found = compared(BASE, small, WINDOWS)
    assert found.status == "ok"
    assert "price: 1 of 5 current windows could not be judged: 20 rows are too few" in str(found)
    gap = {name: rows[(day != 1) & (day != 3)] for name, rows in now.items()}
    found = compared(BASE, gap, WINDOWS)
    assert "2 of 5 days of the current side have no rows: 2026-04-02, 2026-04-04" in found.notes
    gone = [one.window for one in found.stream("price").windows if one.reason == "no rows"]
    assert gone == ["2026-04-02", "2026-04-04"] and found.status == "ok"


def test_a_name_in_capitals_that_ends_in_id_is_no_id():
    base, now = ({"at": rows["at"], "BID": rows["price"] * factor, "userId": np.arange(len(rows["at"])) % 50}
                 for rows, factor in ((BASE, 1), (shop(6, 5, start="2026-04-01"), 2)))
    found = compared(base, now, Options(time="at"))
    assert {one.name: one.kind for one in found.streams} == {"BID": "number", "userId": "ids"}
    assert found.stream("BID").status == "drift"


def test_rows_without_a_time_are_counted_and_not_judged():
    now = shop(7, 5, start="2026-04-01")
    now["at"][:50] = np.datetime64("NaT")
    found = compared(BASE, now, WINDOWS)
    assert found.current.undated == 50 and found.current.windows == 5 and found.status == "ok"


def test_a_baseline_that_cannot_carry_an_alarm_says_so_and_a_tail_does():
    few, moved = shop(1, 14), shop(3, 1, start="2026-04-01", chairs=0.5)
    found = compared(few, moved, Options(time="at"))
    assert found.status == "no_data" and "it takes 19 windows" in found.stream("vector").reason
    told = compared(few, moved, Options(time="at", tail="student"))
    assert told.status == "drift" and "extrapolated" in told.stream("vector").method


def test_a_tail_gives_the_threshold_that_it_gives_the_p_values_of():
    """Fourteen windows have no rank of 0.05: the line in the report is the tail's, like the p value beside it."""
    for tail, days in (("student", 14), ("pareto", 80)):
        for current in (shop(3, 1, start="2026-04-01", chairs=0.5), shop(5, 1, start="2026-04-01")):
            told = compared(shop(1, days, start="2026-01-01"), current, Options(time="at", tail=tail))
            assert told.resolution is None, "no rank bounds its p"
            for one in told.streams:
                (now,) = [window for window in one.windows if window.side == "current"]
                assert one.threshold is not None and now.off == (now.p_value <= told.alpha), one.name
                null = [window.score for window in one.windows
                        if window.score is not None and window.side == "baseline"]
                if tail == "student":
                    spread = np.std(null, ddof=1) * np.sqrt(1 + 1 / len(null))
                    assert one.threshold == pytest.approx(
                        np.mean(null) + spread * stats.t.ppf(0.95, len(null) - 1), rel=1e-6)


def test_the_public_name_makes_json_and_options_are_checked():
    found = incumbent.compare(BASE, shop(3, 5, start="2026-04-01", chairs=0.2), time="at", segments="country",
                              progress=False)
    plain = json.loads(found.to_json())
    assert plain["status"] == "drift" and plain["alpha"] == 0.05 and {s["name"] for s in plain["streams"]} >= {"price"}
    assert "DRIFT" in str(found) and "Report drift" in repr(found)
    with pytest.raises(ConfigError, match="unknown option"):
        incumbent.compare(BASE, BASE, window="day")
    with pytest.raises(ConfigError, match="no such window"):
        incumbent.compare(BASE, BASE, every="month")
    with pytest.raises(ConfigError, match="versions"):
        incumbent.compare(BASE, BASE, versions=True)


def test_progress_is_told():
    seen = []
    compared(BASE, shop(2, 2), WINDOWS, progress=lambda what, done, of: seen.append((what.split(" ")[0], done, of)))
    assert {what for what, _, _ in seen} == {"reading", "fitting", "judging", "explaining"}
    assert ("reading", 6000, 6000) in seen
