"""The registry: what pyproject.toml declares is what is found, and a misspelt name is helped."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from incumbent import registry
from incumbent.errors import NotFoundError

DECLARED = {
    group.removeprefix("incumbent."): points
    for group, points in tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text())["project"][
        "entry-points"].items() if group.startswith("incumbent.")
}


def test_every_declared_kind_is_a_known_kind():
    assert set(DECLARED) <= set(registry.KINDS)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, points in DECLARED.items() for name in points])
def test_every_declared_built_in_loads(kind, name):
    assert name in registry.names(kind)
    loaded = registry.load(kind, name)
    module, _, attribute = DECLARED[kind][name].partition(":")
    assert callable(loaded) and (loaded.__module__.startswith("incumbent.") and hasattr(loaded, "__name__"))
    assert module.startswith("incumbent.") and attribute


def test_names_are_sorted_and_an_unknown_kind_is_empty():
    assert registry.names("states") == sorted(registry.names("states"))
    assert registry.names("no-such-kind") == []


def test_a_misspelt_name_is_helped():
    with pytest.raises(NotFoundError, match=r"Got 'momentz'\. Expected one of .*moments.* did you mean 'moments'"):
        registry.load("states", "momentz")
    with pytest.raises(NotFoundError, match=r"register it in the entry-point group incumbent\.states"):
        registry.load("states", "qqqqqq")
