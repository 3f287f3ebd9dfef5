"""What a configuration names and what has to be there: plugins, functions, currencies; hashes of keys; pins that agree.

Each check gives the lines of its mistakes, path first. Nothing is imported but the names of what is registered.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from incumbent import registry
from incumbent.config import mistakes
from incumbent.config.metrics import MetricsConfig
from incumbent.config.sections import ExperimentConfig, ModelConfig, PinnedConfig, SurfaceConfig
from incumbent.currencies import CURRENCIES
from incumbent.errors import shorten

#: kind of the registry -> what one of them is called
_CALLED = {"stores": "store bundle", "models": "adapter", "policies": "policy", "rules": "rule", "credits": "credit",
           "scorers": "scorer"}


def registered(path: str, kind: str, got: str) -> Iterator[str]:
    """A name that nobody registered.

    >>> list(registered("stores.kind", "stores", "embeded"))
    ["stores.kind: no store bundle of that name. Got 'embeded'. Expected one of embedded, memory. Hint: did you mean \
'embedded'?"]
    """
    known = registry.names(kind)
    if got not in known:
        yield (f"{path}: no {_CALLED[kind]} of that name. Got {shorten(got)}. Expected one of {', '.join(known)}."
               f"{mistakes.did_you_mean(got, known)}")


def of_models(models: Mapping[str, ModelConfig]) -> Iterator[str]:
    """Adapters that nobody registered, and callables that are not written as ``module:function``."""
    for name, model in models.items():
        yield from registered(f"models.{name}.adapter", "models", model.adapter)
        if model.adapter == "callable" and not is_function(model.target):
            yield (f"models.{name}.target: not a function's name. Got {shorten(model.target)}. Expected "
                   "module:function, as in shop.models:popular.")


def of_experiments(experiments: Mapping[str, ExperimentConfig]) -> Iterator[str]:
    """Policies, rules and credits that nobody registered, and currencies that are none."""
    for name, experiment in experiments.items():
        path = f"experiments.{name}"
        yield from registered(f"{path}.policy", "policies", experiment.policy)
        yield from registered(f"{path}.rule", "rules", experiment.rule)
        yield from registered(f"{path}.attribution", "credits", experiment.attribution)
        yield from currency(f"{path}.currency", experiment.currency)


def currency(path: str, got: str | None) -> Iterator[str]:
    """A currency under which no event ever arrives."""
    if got is not None and got not in CURRENCIES:
        yield (f"{path}: not a currency. Got {shorten(got)}. Expected a code of ISO 4217, such as EUR."
               f"{mistakes.did_you_mean(got, sorted(CURRENCIES))}")


def cuts(path: str, metrics: MetricsConfig) -> Iterator[str]:
    """Attributes of one name, whose cells could not be told apart; `lane` is that of experiments.

    >>> list(cuts("metrics", MetricsConfig(item_attributes=("country",))))
    ["metrics.item_attributes: an attribute of that name is there already. Got 'country'. Expected a name that is not \
among context, attributes and item_attributes twice, nor lane."]
    """
    seen = {"lane"}
    for field, given in (("context", metrics.context), ("attributes", metrics.attributes),
                         ("item_attributes", metrics.item_attributes)):
        for name in given:
            if name in seen:
                yield (f"{path}.{field}: an attribute of that name is there already. Got {shorten(name)}. Expected a "
                       "name that is not among context, attributes and item_attributes twice, nor lane.")
            seen.add(name)


def scorers(path: str, got: Collection[str]) -> Iterator[str]:
    """Checks of text that are neither registered nor written as ``module:function``."""
    for n, name in enumerate(got):
        if not is_function(name):
            yield from registered(f"{path}.{n}", "scorers", name)


def of_surfaces(surfaces: Mapping[str, SurfaceConfig]) -> Iterator[str]:
    """Positions and items that are pinned twice: only the first of them would be shown."""
    for name, surface in surfaces.items():
        yield from _pinned_twice(f"surfaces.{name}.pinned", surface.pinned)


def keys(path: str, hashes: Collection[str]) -> Iterator[str]:
    """Keys that are not a SHA-256 in hex, which nothing that is sent can match; not shown, as one may be a key itself.

    >>> list(keys("service.keys", ["0" * 64])), len(list(keys("service.keys", ["my-key"])))
    ([], 1)
    """
    wrong = sum(len(one) != 64 or not set(one.lower()) <= set("0123456789abcdef") for one in hashes)
    if wrong:
        yield (f"{path}: {wrong} of {len(hashes)} is not the SHA-256 of a key. Expected 64 hex digits. Hint: printf %s "
               "KEY | sha256sum. What stands there is not shown: it may be a key.")


def is_function(target: str) -> bool:
    """Is it written as ``module:function`` (or ``module:object.method``)?

    >>> [is_function(one) for one in ("shop.models:popular", "shop:Model.call", "shop.popular", "shop:", "a b:c")]
    [True, True, False, False, False]
    """
    module, _, function = target.partition(":")
    return all(part.isidentifier() for path in (module, function) for part in path.split("."))


def _pinned_twice(path: str, pins: Collection[PinnedConfig]) -> Iterator[str]:
    seen: dict[tuple[str, Any], int] = {}
    for n, pin in enumerate(pins):
        for what, got in (("position", pin.position), ("item_id", pin.item_id)):
            first = seen.setdefault((what, got), n)
            if first != n:
                yield f"{path}.{n}.{what}: pinned twice. Got {shorten(got)}, as in {path}.{first}."
