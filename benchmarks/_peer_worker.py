"""Judges windows with one peer's package, inside that peer's own environment: `_peers.py` starts it and asks it.

One JSON object a line in and out. ``{"methods": package}`` names them; ``{"method", "baseline", "current", "judge"}``
with two .npz files (`vectors` (n, d), and `ids` where items are judged) gives ``{"drift", "score", "cpu_s"}``, a larger
score being further apart, or ``{"error"}``. Every method stands at its package's defaults; where a package has a
statistic and no default of its own to judge by, `drift` is null. It imports nothing of the project.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import sys
import time
import warnings
from pathlib import Path

import numpy as np


# ------------------------------------------------------------------------------------------------------------ scipy
def scipy_ks(base, now):
    """Kolmogorov-Smirnov per dimension with Bonferroni."""
    from scipy.stats import ks_2samp

    found = [ks_2samp(now["vectors"][:, i], base["vectors"][:, i], method="asymp") for i in range(dimension(base))]
    return min(one.pvalue for one in found) < 0.05 / len(found), max(float(one.statistic) for one in found)


def scipy_wasserstein(base, now):
    """Wasserstein distance per dimension: a number and no threshold."""
    from scipy.stats import wasserstein_distance as far

    return None, max(float(far(now["vectors"][:, i], base["vectors"][:, i])) for i in range(dimension(base)))


def scipy_chi2(base, now):
    """Chi-squared of homogeneity on ids."""
    from scipy.stats import chi2_contingency

    found = chi2_contingency(np.stack(counts(base, now)))
    return found[1] < 0.05, float(found[0])


# -------------------------------------------------------------------------------------------------------- evidently
def evidently_embedding(name):
    """One of its four methods for embeddings."""

    def judge(base, now):
        import pandas as pd
        from evidently.legacy.metrics.data_drift import embedding_drift_methods as methods

        frames = [pd.DataFrame(side["vectors"]).add_prefix("v") for side in (now, base)]
        score, drift, _ = getattr(methods, name)()(*frames)
        return bool(drift), float(score)
    return judge


def evidently_ids(base, now):
    """Its default for a category of many values, by its own choice."""
    import pandas as pd
    from evidently.legacy.calculations.stattests import get_stattest
    from evidently.legacy.core import ColumnType

    sides = [pd.Series(side["ids"].astype(str)) for side in (base, now)]
    test = get_stattest(*sides, ColumnType.Categorical, None)
    found = test(*sides, feature_type=ColumnType.Categorical, threshold=test.default_threshold)
    return bool(found.drifted), float(found.drift_score)


# ----------------------------------------------------------------------------------------------------- alibi detect
def alibi(name, **settings):
    """A detector on float32 vectors at its default p-value of .05."""

    def judge(base, now):
        import alibi_detect.cd as detectors

        base, now = base["vectors"].astype(np.float32), now["vectors"].astype(np.float32)
        if name == "ClassifierDrift":  # it has no default model: the one of its documentation's scikit-learn example
            from sklearn.linear_model import LogisticRegression

            settings.update(backend="sklearn", model=LogisticRegression())
        said = getattr(detectors, name)(base, **settings).predict(now)["data"]
        return bool(said["is_drift"]), float(np.max(said["distance"]))
    return judge


def alibi_ids(base, now):
    """Chi-squared on ids."""
    from alibi_detect.cd import ChiSquareDrift

    said = ChiSquareDrift(base["ids"][:, None]).predict(now["ids"][:, None])["data"]
    return bool(said["is_drift"]), float(np.max(said["distance"]))


# ---------------------------------------------------------------------------------------------------------- nannyml
def chunks(base, now, ids=False):
    """Reference and current frames, chunks as large as the current window."""
    import pandas as pd

    if ids:
        return [pd.DataFrame({"id": side["ids"].astype(str)}).astype("category") for side in (base, now)]
    return [pd.DataFrame(side["vectors"]).add_prefix("v") for side in (base, now)]


NANNY = ("value", "alert", "upper_threshold", "lower_threshold")


def beyond(flat, name):
    """How far a value is from the middle of its thresholds, in half their width; above 1 is an alert."""
    value, high = flat[name + "/value"], flat[name + "/upper_threshold"]
    low = flat[name + "/lower_threshold"].fillna(-high)
    return float((abs(value - (high + low) / 2) / ((high - low) / 2)).max())


def nanny(name, ids=False):
    """A calculator at its default thresholds: three standard deviations of the reference's chunks."""

    def judge(base, now):
        import nannyml

        reference, current = chunks(base, now, ids)
        size = min(len(current), len(reference) // 5)
        names = list(reference.columns)
        if name == "UnivariateDriftCalculator":
            made = nannyml.UnivariateDriftCalculator(column_names=names, chunk_size=size)
        elif name == "DomainClassifierCalculator":
            made = nannyml.DomainClassifierCalculator(feature_column_names=names, chunk_size=size)
        else:
            made = nannyml.DataReconstructionDriftCalculator(column_names=names, chunk_size=size)
        table = made.fit(reference).calculate(current).filter(period="analysis").to_df()
        flat = {"/".join(key): table[key].astype(float) for key in table.columns if key[-1] in NANNY}
        alerts = [values.any() for key, values in flat.items() if key.endswith("/alert")]
        return bool(any(alerts)), max(beyond(flat, key[:-6]) for key in flat if key.endswith("/value"))
    return judge


# ---------------------------------------------------------------------------------------------------------- frouros
def frouros_tests(name):
    """A test per dimension at .05 with Bonferroni."""

    def judge(base, now):
        import frouros.detectors.data_drift as detectors

        p, size = [], []
        for i in range(dimension(base)):
            detector = getattr(detectors, name)()
            detector.fit(X=base["vectors"][:, i])
            found = detector.compare(X=now["vectors"][:, i])[0]
            p.append(found.p_value)
            size.append(abs(float(found.statistic)))
        return min(p) < 0.05 / len(p), max(size)
    return judge


def frouros_distance(name):
    """A distance per dimension: a number and no threshold."""

    def judge(base, now):
        import frouros.detectors.data_drift as detectors

        found = []
        for i in range(dimension(base)):
            detector = getattr(detectors, name)()
            detector.fit(X=base["vectors"][:, i])
            found.append(abs(float(detector.compare(X=now["vectors"][:, i])[0].distance)))
        return None, max(found)
    return judge


def frouros_mmd(base, now):
    """Maximum mean discrepancy of whole vectors: a number and no threshold without a permutation test."""
    from frouros.detectors.data_drift import MMD

    detector = MMD()
    detector.fit(X=base["vectors"])
    return None, float(detector.compare(X=now["vectors"])[0].distance)


# ------------------------------------------------------------------------------------------------------------ river
def river(name):
    """An online detector fed with every row's distance from the baseline's mean; alarm where it fires in the window."""

    def judge(base, now):
        import river.drift

        middle = base["vectors"].mean(axis=0)
        detector, fired = getattr(river.drift, name)(), False
        for value in np.linalg.norm(base["vectors"] - middle, axis=1):
            detector.update(float(value))
        for value in np.linalg.norm(now["vectors"] - middle, axis=1):
            detector.update(float(value))
            fired = fired or bool(detector.drift_detected)
        return fired, None
    return judge


#: package -> method -> judge; names that end in "ids" look at item ids
METHODS = {
    "scipy": {"KS": scipy_ks, "Wasserstein": scipy_wasserstein, "chi-squared, ids": scipy_chi2},
    "evidently": {**{name: evidently_embedding(name) for name in ("model", "distance", "ratio", "mmd")},
                  "default, ids": evidently_ids},
    "alibi-detect": {"KS": alibi("KSDrift"), "CVM": alibi("CVMDrift"), "classifier": alibi("ClassifierDrift"),
                     "MMD": alibi("MMDDrift", backend="pytorch"), "LSDD": alibi("LSDDDrift", backend="pytorch"),
                     "chi-squared, ids": alibi_ids},
    "nannyml": {"reconstruction": nanny("DataReconstructionDriftCalculator"),
                "univariate": nanny("UnivariateDriftCalculator"), "classifier": nanny("DomainClassifierCalculator"),
                "univariate, ids": nanny("UnivariateDriftCalculator", ids=True)},
    "frouros": {"KS": frouros_tests("KSTest"), "CVM": frouros_tests("CVMTest"), "Welch": frouros_tests("WelchTTest"),
                "PSI": frouros_distance("PSI"), "JS": frouros_distance("JS"), "EMD": frouros_distance("EMD"),
                "energy": frouros_distance("EnergyDistance"), "MMD": frouros_mmd},
    "river": {"ADWIN": river("ADWIN"), "PageHinkley": river("PageHinkley"), "KSWIN": river("KSWIN")},
}


def dimension(side):
    """Dimensions of a side's vectors."""
    return side["vectors"].shape[1]


def counts(base, now):
    """Counts per id of both sides."""
    ids, where = np.unique(np.concatenate([base["ids"], now["ids"]]), return_inverse=True)
    split = len(base["ids"])
    return np.bincount(where[:split], minlength=len(ids)), np.bincount(where[split:], minlength=len(ids))


def answer(package, asked):
    """What one request gets."""
    base, now = (dict(np.load(asked[side])) for side in ("baseline", "current"))
    start = time.process_time()
    try:
        drift, score = METHODS[package][asked["method"]](base, now)
    except Exception as error:  # whatever a peer raises is its row
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"}
    sound = score is not None and math.isfinite(score)
    return {"drift": None if drift is None else bool(drift), "score": float(score) if sound else None,
            "cpu_s": time.process_time() - start}


def main():
    """Serve requests on the standard streams, with the memory that the second argument allows in GB."""
    package, limit = sys.argv[1], int(float(sys.argv[2]) * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    warnings.simplefilter("ignore")
    out = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        asked = json.loads(line)
        with (Path(os.devnull).open("w") as nothing, contextlib.redirect_stdout(nothing),
              contextlib.redirect_stderr(nothing)):
            said = answer(package, asked)
        out.write(json.dumps(said) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
