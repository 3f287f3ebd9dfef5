"""Coins: all randomness of one ranking, from one extendable hash that anyone can recompute from the log."""

from __future__ import annotations

import hashlib
import struct

_SCALE = 2.0**-64


def coins(salt: str, unit: str, ranking_id: str, n: int) -> list[float]:
    """The first `n` coins of a ranking, each uniform on [0, 1].

    ``u_i = W_i / 2**64`` with W the big-endian 64-bit words of ``SHAKE128(salt 0x1f unit 0x1f ranking_id)``. `unit` is
    the user's id as logged. Round r of a draft uses u_2r to decide what kind of round it is and u_(2r+1) to decide who
    goes first. A longer output starts with the shorter one, so page 2 of a ranking sees the coins of page 1.

    Seeding by the user alone would let the same model open every list of that user; hence the ranking id.
    Source: FIPS 202 (SHAKE128); carry-over: Zhang et al., KDD 2025, arXiv 2508.00751, section 6.4.

    >>> ["%.12f" % coin for coin in coins("exp1", "u42", "req-0001", 4)]
    ['0.385768495660', '0.781809250141', '0.163376267111', '0.577883672524']
    """
    digest = hashlib.shake_128(f"{salt}\x1f{unit}\x1f{ranking_id}".encode()).digest(8 * n)
    return [word * _SCALE for word in struct.unpack(f">{n}Q", digest)]
