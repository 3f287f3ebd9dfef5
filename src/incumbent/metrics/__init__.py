"""What "good" means, as metrics of frames and of the loop. `ndcg(recommendations, interactions, k=10)` and its friends
are functions of this package; each is loaded when it is first asked for."""

from importlib import import_module
from typing import Any

_RANKING = ("auc", "f_beta", "hit_rate", "mean_average_precision", "mrr", "ndcg", "precision", "r_precision", "rbp",
            "recall")
_LAZY = {**dict.fromkeys(_RANKING, "incumbent.metrics.library"), "evaluate": "incumbent.metrics.ranking",
         "off_policy": "incumbent.metrics.offline", "Side": "incumbent.metrics.metric"}
__all__ = sorted(_LAZY)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
