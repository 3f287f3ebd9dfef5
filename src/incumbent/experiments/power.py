"""power: how many units a verdict takes, before an experiment starts.

``n = f (z_(1 - alpha/2) + z_(1 - beta))^2 variance / effect^2`` with f = 2.4, what looking every day costs beside one
planned look (the squared ratio of the confidence sequence's width to the fixed interval's at its tightest: 1.549^2).
Source: reference of this project, sections 5 and 6.
"""

from __future__ import annotations

import math

from scipy import stats

from incumbent.errors import DataError
from incumbent.stats.fixed import check_alpha

SEQUENTIAL_COST = 2.4


def units_needed(
    variance: float, effect: float, *, alpha: float = 0.05, power: float = 0.8, sequential: bool = True,
) -> int:
    """The units at which an effect of that size is told from 0 with that probability.

    `variance` is that of one unit (of sign(D): the part of units that are decided, at most 1), `effect` in the same
    unit. `DataError` for an effect of 0, which no number of units finds.

    >>> units_needed(0.5, 0.05), units_needed(0.5, 0.05, sequential=False)
    (3768, 1570)
    """
    check_alpha(alpha)
    if not 0 < power < 1:
        raise DataError("power must be in (0, 1)", got=power, field="power")
    if not math.isfinite(effect) or effect == 0 or not 0 <= variance < math.inf:
        raise DataError("variance must be finite and effect not 0", got=(variance, effect))
    z = float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power))
    return max(2, math.ceil((SEQUENTIAL_COST if sequential else 1.0) * z * z * variance / effect**2))


def guardrail_users_needed(
    cv: float, loss: float, *, share: float, holdout: float, margin: float = 0.0, alpha: float = 0.05,
    power: float = 0.8,
) -> int:
    """The users, over lane and holdout together, at which a loss beyond the margin is proven at one stage.

    `cv` is the coefficient of variation of the outcome per user, `loss` the relative loss in the candidate's slots;
    the lane shows ``loss * share`` of it: ``n = 2.4 z^2 cv^2 (1/h + 1/(1 - h)) / ((loss - margin) share)^2``. The same
    number shows a harmless candidate (loss 0) to be no worse than its margin.

    >>> guardrail_users_needed(3.0, 0.10, share=0.5, holdout=0.1)
    593526
    >>> guardrail_users_needed(3.0, 0.10, share=0.05, holdout=0.1)
    59352550
    """
    if not 0 < share <= 1 or not 0 < holdout < 1:
        raise DataError("share must be in (0, 1] and holdout in (0, 1)", got=(share, holdout))
    check_alpha(alpha)
    lanes = 1 / holdout + 1 / (1 - holdout)
    return units_needed(cv * cv * lanes, (loss - margin) * share, alpha=2 * alpha, power=power)
