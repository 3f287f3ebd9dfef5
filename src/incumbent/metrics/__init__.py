"""What "good" means, as metrics of frames and of the loop. `ndcg(recommendations, interactions, k=10)`, its friends and
every registered metric (`novelty(recommendations, popularity=counts, k=10)`) are functions of this package; each is
loaded when it is first asked for."""

from importlib import import_module
from typing import Any

_RANKING = ("auc", "f_beta", "hit_rate", "mean_average_precision", "mrr", "ndcg", "precision", "r_precision", "rbp",
            "recall")
_LAZY = {**dict.fromkeys(_RANKING, "incumbent.metrics.library"), "evaluate": "incumbent.metrics.ranking",
         "measure": "incumbent.metrics.measurement", "off_policy": "incumbent.metrics.offline",
         "Side": "incumbent.metrics.metric"}
_ALIASES = {"map": "mean_average_precision"}
__all__ = sorted(_LAZY)


def __getattr__(name: str) -> Any:
    name = _ALIASES.get(name, name)
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if not name.startswith("_") and name in _registered():
        return import_module("incumbent.metrics.library").function_of(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_registered()})


def _registered() -> list[str]:
    found: list[str] = import_module("incumbent.registry").names("metrics")
    return found
