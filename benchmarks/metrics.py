"""Claims: at a million users x 10 recommendations, 50,000 items (Zipf) and 64-d vectors, CPU time from tables in memory
to numbers is at most a tenth of RecTools' for the six accuracy metrics, a twentieth for coverage, novelty, popularity
bias and serendipity, a hundredth for intra-list diversity; all of it in one pass stays under 2 GB over the input.

    python benchmarks/metrics.py [--users 100000 1000000] [--python DIR/*/bin/python] [--rounds 3] [--limit 600]
        [--sets accuracy beyond diversity all] [--sides rectools ranx pytrec_eval polars replay evidently plain]

One process per side, set and size, CPU time of all its threads. Ours is the median of its rounds before and after the
peers, a peer's one call after a small one; peak memory is what a process grew by over its input. Peers run in the first
interpreter of --python that has them (`_metrics_peers.py` says how to make those), with at most --limit CPU seconds,
input and compilation included, and --memory GB. One that is not installed, stops or fails is named with its reason; a
value that is not ours is printed with the difference, and what makes it so at the end.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import resource
import signal
import statistics
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from _metrics_peers import BEYOND, DIFFERENCES, DIMENSIONS, ITEMS, PEERS, SIX, K, Tables, Values

MORE = ("gini@10", "personalisation@10", "unexpectedness@10")
#: set -> metrics, who has them, and how many times RecTools' CPU time ours goes into at least
SETS: dict[str, tuple[tuple[str, ...], tuple[str, ...], float | None]] = {
    "accuracy": (SIX, tuple(PEERS), 10),
    "beyond": (BEYOND, ("rectools", "polars", "replay", "evidently"), 20),
    "diversity": (("diversity@10",), ("rectools", "evidently"), 100),
    "all": ((*SIX, *BEYOND, "diversity@10", *MORE), (), None)}
MOST_MB = 2_048
REGISTERED = {"map_relevant": "map", "ndcg_achievable": "ndcg", "novelty_ceiling": "novelty"}


def make(users: int) -> Tables:
    """Ten distinct items of a Zipf catalogue per user, five relevant pairs and ten of history a user, unit vectors."""
    rng = np.random.default_rng(users)
    draws = (ITEMS ** rng.random((users, K))).astype(np.int64)
    shown = draws // K * K + np.arange(K)
    owner, ranks = np.repeat(np.arange(users), K), np.tile(np.arange(1, K + 1), users)
    hit = rng.random((users, K)) < 0.1
    other = np.stack([rng.integers(0, users, 4 * users), rng.integers(0, ITEMS, 4 * users)], axis=1)
    relevant = np.unique(np.concatenate([owner[hit.ravel()] * ITEMS + shown[hit], other[:, 0] * ITEMS + other[:, 1]]))
    had = np.unique(rng.integers(0, users, 10 * users) * ITEMS + (ITEMS ** rng.random(10 * users)).astype(np.int64))
    vectors = rng.normal(size=(ITEMS, DIMENSIONS))
    counts = np.bincount(had % ITEMS, minlength=ITEMS)
    return {"shown": pa.table({"user_id": owner, "item_id": shown.ravel(), "rank": ranks}),
            "relevant": pa.table({"user_id": relevant // ITEMS, "item_id": relevant % ITEMS}),
            "history": pa.table({"user_id": had // ITEMS, "item_id": had % ITEMS}),
            "popularity": pa.table({"item_id": np.arange(ITEMS), "count": counts}),
            "catalogue": pa.table({"item_id": np.arange(ITEMS)}),
            "vectors": pa.table({"item_id": np.arange(ITEMS), "vector": pa.FixedSizeListArray.from_arrays(
                pa.array(vectors.ravel()), DIMENSIONS)})}


def ours(tables: Tables, names: tuple[str, ...]) -> Values:
    """One call of the library for all names."""
    from incumbent.metrics.measurement import measure
    from incumbent.metrics.metric import Side
    from incumbent.metrics.ranking import evaluate

    if set(names) <= set(SIX):
        made = evaluate(tables["shown"], tables["relevant"], list(names)).estimates()
    else:
        stems = [name.partition("@")[0] for name in names]
        side = Side(**{name: table for name, table in tables.items() if name != "shown"})
        made = measure(tables["shown"], [REGISTERED.get(stem, stem) for stem in stems], side).estimates
    return {name: float(made[name].value or 0) for name in names}


def one(side: str, names: tuple[str, ...], users: int, rounds: int) -> dict[str, Any]:
    """CPU seconds, memory over the input, and values of one side, in a process of its own."""
    run = ours if side == "incumbent" else PEERS[side][1]
    run(make(100), names)
    tables = make(users)
    ctypes.CDLL(None).malloc_trim(0)  # what making them took is given back, so that it hides nothing
    resident = int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0])
    Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
    taken, values = [], {}
    for _ in range(rounds):
        start = time.process_time()
        values = run(tables, names)
        taken.append(time.process_time() - start)
    peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
    return {"cpu": taken, "mb": (peak - resident) / 1024, "values": values}


@cache
def interpreter(side: str, pythons: tuple[str, ...]) -> str | None:
    """The first that has what the side needs."""
    if side == "incumbent":
        return sys.executable
    needs = f"import importlib.util as u, sys; sys.exit(u.find_spec({PEERS[side][0]!r}) is None)"
    return next((python for python in pythons if not subprocess.run([python, "-c", needs]).returncode), None)


def asked(side: str, names: tuple[str, ...], users: int, rounds: int, options: Any) -> dict[str, Any] | str:
    """What a process of its own says, or why it says nothing."""
    python = interpreter(side, (*options.python, sys.executable))
    if python is None:
        return "not installed"
    command = [python, __file__, "--one", side, ",".join(names), str(users), "--rounds", str(rounds), "--memory",
               str(options.memory), "--limit", str(options.limit)]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return f"stopped after {options.limit} CPU s"
    if ran.returncode:
        said = (ran.stderr.strip().splitlines() or [""])[-1]
        return said[:140] if said else f"it ended with {ran.returncode} and said nothing"
    told: dict[str, Any] = json.loads(ran.stdout.strip().splitlines()[-1])
    return told


def row(ratio: str, name: str, users: int, side: str, said: str) -> None:
    print(f"{ratio:>8} {name:10} {users:>9} {side:12} {said}", flush=True)


def compare(name: str, users: int, options: Any) -> None:
    """The rows of one set: the peers, then ours, by its rounds before and after them."""
    names, peers, bar = SETS[name]
    before = asked("incumbent", names, users, options.rounds, options)
    found = {peer: asked(peer, names, users, 1, options) for peer in peers if peer in options.sides}
    after = asked("incumbent", names, users, options.rounds, options) if found else before
    if isinstance(before, str) or isinstance(after, str):
        row("-", name, users, "incumbent", before if isinstance(before, str) else str(after))
        return
    mine = statistics.median([*before["cpu"], *after["cpu"]])
    memory = "" if bar else f"  under {MOST_MB} MB: {'yes' if before['mb'] < MOST_MB else 'no'}"
    row("1.0", name, users, "incumbent", f"{mine:8.2f} {before['mb']:>8.0f}  {len(names)} of {len(names)}{memory}")
    for peer, said in found.items():
        if isinstance(said, str):
            row("-", name, users, peer, said)
            continue
        ratio, values = said["cpu"][0] / mine, said["values"]
        met = f"  {bar:g} times: {'yes' if ratio >= bar else 'no'}" if peer == "rectools" and bar else ""
        off = {key: abs(values[key] - before["values"][key]) for key in values}
        others = ", ".join(f"{key} by {gap:.2g}" for key, gap in off.items() if gap > 1e-9)
        row(f"{ratio:.1f}", name, users, peer, f"{said['cpu'][0]:8.2f} {said['mb']:>8.0f}  {len(values)} of "
            f"{len(names)}{met}{'  other: ' + others if others else ''}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--python", nargs="+", default=[], help="interpreters of the peers")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--sides", nargs="*", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--limit", type=int, default=600, help="CPU seconds for a peer in one set")
    parser.add_argument("--memory", type=float, default=14, help="GB of address space of a peer")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        side, names, users = options.one
        if side != "incumbent":
            resource.setrlimit(resource.RLIMIT_AS, (int(options.memory * 2**30),) * 2)
            resource.setrlimit(resource.RLIMIT_CPU, (options.limit, options.limit + 5))
        print(json.dumps(one(side, tuple(names.split(",")), int(users), options.rounds)))
        return
    print(f"{'x ours':>8} {'set':10} {'users':>9} {'side':12} {'CPU s':>8} {'peak MB':>8}  metrics")
    for users in options.users:
        for name in options.sets:
            compare(name, users, options)
    print("\nwhere definitions differ")
    for peer in options.sides:
        print(f"  {peer}: {DIFFERENCES[peer]}")


if __name__ == "__main__":
    main()
