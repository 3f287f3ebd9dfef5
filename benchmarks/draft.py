"""Claim: a pair draft costs at most 15 us for 10 of 20, 40 us for 50 of 1,000 and 200 us for 200 of 1,000, on one core.

    python benchmarks/draft.py [--repeat 15]

The draft is `PairDraft.choose` as the gateway calls it: on clean lists (`Ranked`), coins hashed, slots made with ranks
and propensities. Beside it what comes before in a request, the cleaning of both raw lists, and the public library
`interleaving` (github.com/mpkato/interleaving) drafting the same two lists, where it is installed: the PyPI project of
that name is another one. The best of `--repeat` is taken, for neighbours on the machine only ever add.
"""

from __future__ import annotations

import argparse
import random
import time
import timeit
from collections.abc import Callable

from incumbent.experiments.lists import Ranked, clean
from incumbent.experiments.pair_draft import PairDraft

BARS = [(10, 20, 15.0), (50, 1000, 40.0), (200, 1000, 200.0)]
Peer = Callable[[list[str], list[str], int], object]


def lists(n: int, overlap: float) -> tuple[list[str], list[str]]:
    """Two lists of `n` ids of which a part is in both, in other places."""
    first = [f"item-{i}" for i in range(n)]
    second = [f"item-{i + round(n * (1 - overlap))}" for i in range(n)]
    random.Random(1).shuffle(second)
    return first, second


def best_us(work: Callable[[int], object], repeat: int, number: int) -> float:
    """The least CPU time of one call, in microseconds, over `repeat` runs of `number` calls."""
    def many() -> None:
        for n in range(number):
            work(n)
    return min(timeit.repeat(many, timer=time.process_time, number=1, repeat=repeat)) / number * 1e6


def library() -> Peer | None:
    """The public library's team draft, or None where it is not installed."""
    try:
        from interleaving import TeamDraft
    except ImportError:
        return None
    return lambda one, two, k: TeamDraft([one, two], max_length=k).interleave()


def measure(k: int, n: int, overlap: float, share: float, peer: Peer | None, repeat: int) -> tuple[float, float, float]:
    """Microseconds of the draft, of cleaning both lists, and of the library (0 where it is not there)."""
    one, two = lists(n, overlap)
    first, second = Ranked(one), Ranked(two)
    policy, number = PairDraft(), 4000 // k + 20
    draft = best_us(lambda call: policy.choose(first, second, k, share=share, salt="exp1", unit="u42",
                                               ranking_id=f"r{call}"), repeat, number)
    cleaning = best_us(lambda _: (clean(one, None, {}), clean(two, None, {})), repeat, number)
    theirs = best_us(lambda _: peer(one, two, k), 3, 3) if peer else 0.0
    return draft, cleaning, theirs


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=15)
    repeat, peer = parser.parse_args().repeat, library()
    print(f"{'k of n':>12} {'in both':>8} {'share':>6} {'of the bar':>11} {'draft us':>9} {'bar us':>7} "
          f"{'cleaning us':>12} {'library us':>11} {'library/draft':>14}")
    for k, n, bar in BARS:
        for overlap, share in ((0.0, 0.5), (0.5, 0.5), (0.5, 0.05), (1.0, 0.5)):
            draft, cleaning, theirs = measure(k, n, overlap, share, peer, repeat)
            beside = f"{theirs:11.0f} {theirs / draft:13.0f}x" if theirs else f"{'-':>11} {'-':>14}"
            print(f"{k:>5} of {n:>4} {overlap:>8.0%} {share:>6.0%} {draft / bar:>10.2f}x {draft:>9.1f} {bar:>7.0f} "
                  f"{cleaning:>12.1f} {beside}")
    if peer is None:
        print("the public library is not installed here, so it was not measured")


if __name__ == "__main__":
    main()
