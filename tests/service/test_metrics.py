import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from incumbent.clock import ManualClock
from incumbent.events.schema import Impression, ModelAnswer
from incumbent.service.metrics import CATALOGUE, Meter, Snapshot

T0 = datetime(2026, 3, 1, tzinfo=UTC)


def samples(meter):
    return {(s.name, tuple(sorted(s.labels.items()))): s.value
            for family in text_string_to_metric_families(meter.expose().decode()) for s in family.samples}


def neighbour(directory, part, pid, at, values=None, rows=None):
    snapshot = Snapshot(part, pid, at, values or {}, rows or {})
    (directory / f"{part}-{pid}.metrics").write_bytes(msgspec.msgpack.encode(snapshot))


def test_counters_add_over_processes_also_dead_ones(tmp_path):
    clock = ManualClock(T0)
    clock.advance(1000)
    meter = Meter(tmp_path, "front", clock)
    meter.add("incumbent_events", ("accepted", ""), 3)
    neighbour(tmp_path, "front", 1, 1.0, {"incumbent_events": [(("accepted", ""), 4.0), (("rejected", "time"), 1.0)]})
    found = samples(meter)
    assert found["incumbent_events_total", (("outcome", "accepted"), ("reason", ""))] == 7
    assert found["incumbent_events_total", (("outcome", "rejected"), ("reason", "time"))] == 1


def test_gauges_are_of_the_living(tmp_path):
    clock = ManualClock(T0)
    clock.advance(1000)
    meter = Meter(tmp_path, "front", clock)
    neighbour(tmp_path, "loop", 1, 995.0, {"incumbent_inbox_records": [((), 12.0)]})
    neighbour(tmp_path, "loop", 2, 900.0, {"incumbent_inbox_records": [((), 99.0)]})
    found = samples(meter)
    assert found["incumbent_inbox_records", ()] == 12
    assert found["incumbent_up", (("part", "loop"),)] == 1 and found["incumbent_up", (("part", "front"),)] == 1


def test_histograms_are_cumulative_and_add(tmp_path):
    meter = Meter(tmp_path, "front", ManualClock(T0))
    for seconds in (0.0005, 0.001, 0.003, 0.2, 100.0):
        meter.observe("incumbent_http_seconds", seconds, ("events",))
    other = Meter(tmp_path, "page", ManualClock(T0))
    other.observe("incumbent_http_seconds", 0.2, ("events",))
    other.flush()
    found = samples(meter)

    def bucket(le):
        return found["incumbent_http_seconds_bucket", (("le", le), ("route", "events"))]

    assert [bucket(le) for le in ("0.001", "0.0025", "0.005", "0.15", "0.25", "60.0", "+Inf")] == [2, 2, 3, 3, 5, 5, 6]
    assert found["incumbent_http_seconds_count", (("route", "events"),)] == 6
    assert abs(found["incumbent_http_seconds_sum", (("route", "events"),)] - 100.4045) < 1e-9


def test_an_impression_counts_surface_mode_and_models():
    meter = Meter(None, "front", ManualClock(T0))
    answers = [ModelAnswer("champion", "old", "1", "ok", 12.0, 3),
               ModelAnswer("candidate", "new", "1", "timeout", 100.0, 0)]
    meter.impression(Impression(
        event_id="0" * 36, request_id="r", ranking_id="r", time=T0, user_id="u", surface="home", mode="fallback",
        lane="interleave", plan="p", slots=[], models=answers, latency_ms=101.0))
    found = samples(meter)
    assert found["incumbent_recommendations_total", (("mode", "fallback"), ("surface", "home"))] == 1
    assert found["incumbent_model_answers_total", (("model", "new"), ("status", "timeout"))] == 1
    assert found["incumbent_model_seconds_sum", (("model", "new"),)] == 0.1


def test_a_damaged_snapshot_and_a_full_disk_cost_nothing_else(tmp_path):
    meter = Meter(tmp_path / "gone", "front", ManualClock(T0))
    meter.add("incumbent_clock_steps")
    meter.flush()
    assert samples(meter)["incumbent_clock_steps_total", ()] == 1
    here = Meter(tmp_path, "front", ManualClock(T0))
    (tmp_path / "front-1.metrics").write_bytes(b"\xc1 not msgpack")
    assert samples(here)["incumbent_up", (("part", "front"),)] == 1
    here.flush()
    assert [p.name for p in tmp_path.glob(f"*{os.getpid()}.metrics")] == [f"front-{os.getpid()}.metrics"]


def test_every_metric_of_the_catalogue_is_exposed_with_its_help():
    text = Meter(None, "front", ManualClock(T0)).expose().decode()
    for name, (_, _, help_text) in CATALOGUE.items():
        assert f"# HELP {name}" in text and help_text in text


def test_on_a_full_disk_a_process_goes_on_saying_that_it_lives(tmp_path, monkeypatch):
    clock = ManualClock(T0)
    meter = Meter(tmp_path, "loop", clock)
    meter.add("incumbent_clock_steps")
    meter.flush()
    monkeypatch.setattr(Path, "write_bytes", full)
    clock.advance(60)
    meter.add("incumbent_clock_steps")
    meter.flush()
    [told] = [msgspec.msgpack.decode(path.read_bytes(), type=Snapshot) for path in tmp_path.iterdir()]
    assert told == meter.snapshot() and told.at == clock.monotonic()
    for route in range(500):  # what needs more room than the file has leaves it as it is
        meter.add("incumbent_http_requests", (f"route-{route}", "200"))
    meter.flush()
    assert msgspec.msgpack.decode(next(tmp_path.iterdir()).read_bytes(), type=Snapshot) == told


def full(path, data):
    with path.open("wb") as file:
        file.write(data[:10])
    raise OSError(28, "No space left on device")
