"""The configuration: every mistake at once with its path, the nearest known key, and the environment on top."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from incumbent import config, registry
from incumbent.errors import ConfigError

BASE = {
    "models": {"popular": {"target": "shop:popular"}, "similar": {"target": "shop:similar"}},
    "surfaces": {"home": {"champion": "popular"}},
    "experiments": {"first": {"surface": "home", "candidate": "similar"}},
}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    import os

    for name in [name for name in os.environ if name.upper().startswith("INCUMBENT_")]:
        monkeypatch.delenv(name)


def tree(**changes):
    """BASE with values put at paths written with two underscores."""
    out = copy.deepcopy(BASE)
    for path, value in changes.items():
        *sections, key = path.split("__")
        inner = out
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[key] = value
    return out


def problems(data):
    with pytest.raises(ConfigError) as caught:
        config.parse(data)
    return list(caught.value.problems)


class TestGood:
    def test_the_smallest(self):
        parsed = config.parse(BASE)
        assert parsed.surfaces["home"].champion == "popular" and parsed.service.port == 8000
        assert config.parse({}).models == {}

    def test_money_with_its_currency_and_the_credit_of_a_plugin(self, monkeypatch):
        assert config.parse(tree(experiments__first__outcome="value", experiments__first__currency="EUR"))
        real = registry._points
        monkeypatch.setattr(registry, "_points", lambda kind: {**real(kind), "own": None})
        assert config.parse(tree(
            stores__kind="own", models__popular={"adapter": "own", "target": "anything"}, text__scorers=["own", "a:b"],
            experiments__first__attribution="own", experiments__first__policy="own", experiments__first__rule="own"))

    def test_it_is_frozen_and_plain(self):
        parsed = config.parse(BASE)
        with pytest.raises(ValidationError):
            parsed.service.port = 1
        with pytest.raises(ValidationError):
            parsed.service = None
        frozen = config.frozen_definition(parsed, "first")
        assert json.loads(json.dumps(frozen)) == frozen and frozen["candidate"] == "similar"

    def test_what_was_dumped_reads_back(self):
        parsed = config.parse(BASE)
        assert config.parse(parsed.model_dump(mode="json")) == parsed

    def test_the_input_is_left_alone(self):
        data = tree(service__prot=1)
        before = copy.deepcopy(data)
        problems(data)
        assert data == before

    def test_defaults_are_sound(self):
        stages = config.DEFAULT_STAGES
        assert [stage.share for stage in stages] == [0, 0.01, 0.05, 0.1, 0.25, 0.5]
        assert [stage.lane_share for stage in stages] == [0.05, 0.05, 0.1, 0.2, 0.5, 1.0]
        assert [stage.stage for stage in stages] == ["shadow", "canary", "ramp_5", "ramp_10", "ramp_25", "ramp_50"]


class TestMistakes:
    def test_all_at_once_values_keys_and_references(self):
        found = problems(tree(
            service__port=99_999, service__prot=1, modles={}, surfaces__home__champion="populer",
            experiments__first__holdout=1.5, experiments__first__candidate="nobody", models__similar__deadline_ms=0))
        assert [line.partition(":")[0] for line in found] == [
            "service.port", "service.prot", "models.similar.deadline_ms", "experiments.first.holdout", "modles",
            "surfaces.home.champion", "experiments.first.candidate"]
        by_path = {line.partition(":")[0]: line for line in found}
        assert by_path["service.port"].endswith("less than or equal to 65535. Got 99999.")
        assert by_path["service.prot"] == "service.prot: unknown key. Hint: did you mean 'port'?"
        assert by_path["modles"] == "modles: unknown key. Hint: did you mean 'models'?"
        assert by_path["surfaces.home.champion"] == (
            "surfaces.home.champion: not configured. Got 'populer'. Expected one of popular, similar. "
            "Hint: did you mean 'popular'?")

    def test_what_is_wrong_of_a_section_hides_nothing_else_of_it(self):
        found = problems(tree(models__popular={"target": 5, "adapter": "htp", "dealine_ms": 10}))
        assert [line.partition(":")[0] for line in found] == [
            "models.popular.target", "models.popular.dealine_ms", "models.popular.adapter"]

    def test_the_message_counts_them(self):
        with pytest.raises(ConfigError, match=r"the configuration has 2 mistakes\.\n  - service\.port: .*\n  - stores"):
            config.parse({"service": {"port": -1}, "stores": {"kind": 3}})
        with pytest.raises(ConfigError, match=r"has 1 mistake\."):
            config.parse({"service": {"port": -1}})

    def test_a_reference_to_a_section_that_is_itself_wrong_is_no_second_mistake(self):
        assert [line.partition(":")[0] for line in problems(tree(models__popular={}))] == ["models.popular.target"]
        assert [line.partition(":")[0] for line in problems(tree(models__popular=3))] == ["models.popular"]
        assert [line.partition(":")[0] for line in problems(tree(surfaces__home={}))] == ["surfaces.home.champion"]

    @pytest.mark.parametrize(("changes", "path", "text"), [
        ({"models__popular__options": {"x": [1]}}, "models.popular.options.x", "valid string or a valid integer or"),
        ({"models__bad name": {"target": "x"}}, "models.bad name", "should match pattern"),
        ({"experiments__first__actions": {"buy": 1}}, "experiments.first.actions.buy", "'view', 'click'"),
        ({"experiments__first__stages": [{"stage": "canary", "share": 2}]}, "experiments.first.stages.0.share",
         "less than or equal to 1. Got 2"),
        ({"experiments__first__stages": []}, "experiments.first.stages", "must not fall"),
        ({"experiments__first__stages": [{"stage": "canary", "share": 0.01, "lane_share": 0.2},
                                         {"stage": "ramp_5", "share": 0.05, "lane_share": 0.1}]},
         "experiments.first.stages", "lane_share must not fall along the ramp"),
        ({"experiments__first__stages": [{"stage": "shadow", "share": 0},
                                         {"stage": "canary", "share": 0.01, "lane_share": 0.2}]},
         "experiments.first.stages", "Got shadow 1, canary 0.2"),
        ({"experiments__first__stages": [{"stage": "canary", "share": 0.01, "lane_share": 0}]},
         "experiments.first.stages.0.lane_share", "greater than 0"),
        ({"experiments__first__stages": [{"stage": "ramp_5", "share": 0.05}, {"stage": "canary", "share": 0.01}]},
         "experiments.first.stages", "at most once"),
        ({"experiments__first__cap": float("nan")}, "experiments.first.cap", "finite number. Got nan"),
        ({"experiments__first__candidate": "popular"}, "experiments.first.candidate", "is the champion itself"),
        ({"experiments__first__maturity_window_days": 1}, "experiments.first.maturity_window_days",
         "shorter than the attribution window. Got 1. Expected >= 7"),
        ({"experiments__first__attribution": "last_tuch"}, "experiments.first.attribution",
         "Got 'last_tuch'. Expected one of all_touch, first_touch, impression, last_touch, share. Hint: did you mean "
         "'last_touch'?"),
        ({"experiments__first__outcome": "value"}, "experiments.first.currency", "needed under outcome = \"value\""),
        ({"experiments__first__guardrails": [{"metric": "latency_ms", "margin": 1, "slow_ms": 5}]},
         "experiments.first.guardrails.0.slow_ms", "belongs to latency_p95"),
        ({"experiments__first__holdout": 0}, "experiments.first.holdout", "Hint: set holdout = 0.1"),
        ({"experiments__first__surface": "hom"}, "experiments.first.surface", "did you mean 'home'"),
        ({"surfaces__home__pinned": [{"position": 0, "item_id": "x"}]}, "surfaces.home.pinned.0.position", "Got 0"),
        ({"surfaces__home__pinned": [{"postion": 1, "item_id": "x"}]}, "surfaces.home.pinned.0.postion",
         "did you mean 'position'"),
        ({"service__keys": {"ab": "root"}}, "service.keys.ab", "'serve', 'events', 'shop', 'read' or 'operate'"),
        ({"service__clock": "replay"}, "service.replay_start", "needed under clock"),
        ({"service__replay_start": "2017-07-01T00:00:00"}, "service.replay_start", "timezone"),
        ({"service": 3}, "service", "valid dictionary"),
        ({"limits__event_bytes": "many"}, "limits.event_bytes", "valid integer"),
    ])
    def test_each_is_told_at_its_path(self, changes, path, text):
        found = {line.partition(":")[0]: line for line in problems(tree(**changes))}
        assert path in found and text in found[path], found

    def test_every_name_that_there_is_nothing_of(self):
        found = problems(tree(
            stores__kind="embeded", service__keys={"abc": "serve", "0" * 64: "read", "A" * 64: "shop"},
            models__popular={"adapter": "calable", "target": "x"}, models__similar={"target": "nocolon"},
            models__remote={"adapter": "http", "target": "http://ranker:8080"},
            surfaces__home__pinned=[{"position": 1, "item_id": "a"}, {"position": 2, "item_id": "b"},
                                    {"position": 1, "item_id": "b"}],
            experiments__first__policy="pairdraft", experiments__first__rule="seqential",
            experiments__first__attribution="last_tuch", experiments__first__currency="XXQ",
            metrics__currency="EUX", text__scorers=["blocked_languge", "shop:check", "shop:"]))
        assert [line.partition(":")[0] for line in found] == [
            "service.keys", "stores.kind", "models.popular.adapter", "models.similar.target",
            "surfaces.home.pinned.2.position", "surfaces.home.pinned.2.item_id", "experiments.first.policy",
            "experiments.first.rule", "experiments.first.attribution", "experiments.first.currency",
            "metrics.currency", "text.scorers.0", "text.scorers.2"]
        by_path = {line.partition(": ")[0]: line.partition(": ")[2] for line in found}
        for path, near in (("stores.kind", "embedded"), ("models.popular.adapter", "callable"),
                           ("experiments.first.policy", "pair_draft"), ("experiments.first.rule", "sequential"),
                           ("text.scorers.0", "blocked_language")):
            assert by_path[path].startswith("no ") and by_path[path].endswith(f"Hint: did you mean {near!r}?")
        assert by_path["stores.kind"] == ("no store bundle of that name. Got 'embeded'. Expected one of embedded, "
                                          "memory. Hint: did you mean 'embedded'?")
        assert by_path["models.similar.target"].startswith(
            "not a function's name. Got 'nocolon'. Expected module:function")
        assert by_path["surfaces.home.pinned.2.item_id"] == "pinned twice. Got 'b', as in surfaces.home.pinned.1."
        assert by_path["experiments.first.currency"].startswith("not a currency. Got 'XXQ'. Expected a code of ISO")
        assert "1 of 3 is not the SHA-256 of a key" in by_path["service.keys"]

    def test_what_stands_for_a_hash_is_not_shown_since_it_may_be_the_key(self):
        [line] = problems(tree(service__keys={"correct-horse-battery": "operate"}))
        assert line.startswith("service.keys: ") and "correct" not in line

    @pytest.mark.parametrize("target", ["shop", ":popular", "shop:", "shop.:popular", "shop:a b", "http://x"])
    def test_a_callable_is_a_module_and_a_function(self, target):
        [line] = problems(tree(models__popular={"target": target}))
        assert line.startswith("models.popular.target: not a function's name")

    def test_mistakes_deep_in_lists_do_not_hide_others(self):
        found = problems(tree(experiments__first__guardrails=[{"metric": "revenue", "margin": -1}, {"margin": 1}],
                              experiments__first__candidate="nobody"))
        assert [line.partition(":")[0] for line in found] == [
            "experiments.first.guardrails.0.metric", "experiments.first.guardrails.0.margin",
            "experiments.first.guardrails.1.metric", "experiments.first.candidate"]


class TestEnvironment:
    def test_it_wins_over_the_file(self, monkeypatch, tmp_path):
        file = tmp_path / "incumbent.toml"
        file.write_text("[service]\nport = 9000\nhost = '0.0.0.0'\n")
        monkeypatch.setenv("INCUMBENT_SERVICE__PORT", "8001")
        monkeypatch.setenv("INCUMBENT_STORES__DIRECTORY", "/data")
        parsed = config.load(file)
        assert (parsed.service.port, parsed.service.host, parsed.stores.directory) == (8001, "0.0.0.0", Path("/data"))

    def test_it_reaches_into_named_sections_and_lists(self, monkeypatch):
        monkeypatch.setenv("INCUMBENT_MODELS__POPULAR__DEADLINE_MS", "70")
        monkeypatch.setenv("INCUMBENT_DELISTED", '["i1", "i2"]')
        parsed = config.parse(BASE)
        assert parsed.models["popular"].deadline_ms == 70 and parsed.models["popular"].target == "shop:popular"
        assert parsed.delisted == ("i1", "i2")

    def test_mistakes_of_file_and_environment_are_told_together(self, monkeypatch):
        monkeypatch.setenv("INCUMBENT_SERVICE__PORT", "abc")
        monkeypatch.setenv("INCUMBENT_SERVICE__PROT", "1")
        monkeypatch.setenv("INCUMBENT_SERVCE__HOST", "x")
        found = problems(tree(surfaces__home__champion="nobody"))
        assert {line.partition(":")[0] for line in found} == {
            "INCUMBENT_SERVCE__HOST", "service.port", "service.prot", "surfaces.home.champion"}
        assert "INCUMBENT_SERVCE__HOST: unknown section. Hint: did you mean 'INCUMBENT_SERVICE__HOST'?" in found

    def test_bad_json_is_told(self, monkeypatch):
        monkeypatch.setenv("INCUMBENT_SERVICE", "{port: 1")
        (line,) = problems(BASE)
        assert "service" in line and "JSON" in line

    def test_variables_that_are_no_keys_are_left_alone(self, monkeypatch):
        monkeypatch.setenv("INCUMBENT_SECRET", "abc")
        monkeypatch.setenv("INCUMBENT_KEY", "abc")
        monkeypatch.setenv("PATH__X", "abc")
        assert config.parse(BASE).service.port == 8000


class TestFiles:
    def test_overrides_go_into_sections(self, tmp_path):
        file = tmp_path / "incumbent.toml"
        file.write_text("[service]\nport = 9000\n[models.popular]\ntarget = 'a:b'\n")
        parsed = config.load(file, {"service": {"host": "::1"}, "models": {"popular": {"version": "7"}}})
        assert (parsed.service.port, parsed.service.host) == (9000, "::1")
        assert (parsed.models["popular"].target, parsed.models["popular"].version) == ("a:b", "7")

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(ConfigError, match=r"cannot be read.*nowhere\.toml.*No such file"):
            config.load(tmp_path / "nowhere.toml")

    @pytest.mark.parametrize("raw", [b"[service\n", b"port = 1 1", b"\xff\xfe"])
    def test_a_file_that_is_not_toml(self, tmp_path, raw):
        file = tmp_path / "incumbent.toml"
        file.write_bytes(raw)
        with pytest.raises(ConfigError, match=r"not TOML"):
            config.load(file)

    @pytest.mark.parametrize(("line", "shown"), [
        ("host = local host", ": host"), ('url = "postgres://me:s3cr3t@db', ": url"), ("key: s3cr3t", ": key"),
        ("key=s3cr3t", ": key"), ('s3cr3t@db"', ""), ("[service.s", ": [service.s"),
        ('keys = [\n  "x",\n  s3cr3t=,\n]', ""), ('keys = [\n  ["x"],\n  [s3cr3t]]', ""),
    ])
    def test_a_line_that_is_not_toml_is_named_and_no_value_of_it_shown(self, tmp_path, line, shown):
        file = tmp_path / "incumbent.toml"
        file.write_text(f"[service]\nport = 8000\n{line}\n")
        with pytest.raises(ConfigError) as caught:
            config.load(file)
        assert str(caught.value).partition(", column ")[2].partition(")")[2] == f"{shown}."
        assert "s3cr3t" not in str(caught.value) and "local" not in str(caught.value)

    def test_the_replay_start(self):
        replay = tree(service__clock="replay", service__replay_start="2017-07-01T00:00:00Z")
        assert config.parse(replay).service.replay_start.year == 2017
        assert config.parse(BASE).service.replay_start is None
