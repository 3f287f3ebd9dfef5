"""One fused pass over blocks of vectors: everything that `Vectors` keeps, in BLAS and whole-array steps.

A row's cell must not depend on the batch that it came in. A matrix product may sum a row's terms in another order when
the block has another shape, so every product here has one fixed shape per configuration (short blocks are padded), and
the features are rounded to a grid of 2^-14 and summed as whole numbers. Sums of vectors and of
outer products are float64: a float32 rank-k update is off by some 1e-8 of the magnitudes, and sharding would show it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas

from incumbent.stats.vectors_config import GRID, VectorsConfig

UNIT = 1 << 14  # the random Fourier features are whole numbers of 1 / UNIT
SNAP = np.float32(1.5 * 2**23 / UNIT)  # x + SNAP rounds x in [-1, 1] to that grid: bits(x + SNAP) = bits(SNAP) + x UNIT
LARGEST = 1e18  # the square of a larger norm does not fit float32
_WAVE = 1 << 15  # features computed at a time: with their doublings they stay in the cache
_FOLD = 8  # rows side by side in one row of a sum, which is faster for being longer
_NORM_BITS = 13  # a squared norm is looked up by its exponent and 10 bits: edges of norms are as exact as 0.05 %
DEFECTS = ("nan", "infinite", "zero", "constant")


class _Frame:
    """The weights of a configuration in the layout of the pass: a row is [y, 1, 0 ..], so that products add offsets."""

    def __init__(self, config: VectorsConfig) -> None:
        d = config.dimension
        self.width = d + 2 - d % 2  # even, since rows are hashed as 64-bit words
        f, p, k = len(config.frequencies), len(config.directions), len(config.centroids)
        self.frequencies = np.zeros((self.width, f), dtype=np.float32)
        self.frequencies[:d] = config.frequencies.T
        self.lines = np.zeros((self.width, p), dtype=np.float32)
        self.lines[:d] = (config.directions / config.steps[:, None]).T
        self.lines[d] = -config.lows / config.steps
        self.points = np.zeros((self.width, k), dtype=np.float32)
        self.points[:d] = config.centroids.T  # the nearest centroid has the greatest y . m - |m|^2 / 2
        self.points[d] = -0.5 * np.einsum("ij,ij->i", config.centroids, config.centroids, dtype=np.float64)
        self.starts = np.arange(p, dtype=np.intp)[:, None] * GRID
        words = np.random.PCG64(config.seed).random_raw(self.width // 2)
        self.multipliers = np.asarray(words, dtype=np.uint64) | np.uint64(1)
        self.shift = np.uint64(64 - (config.repeat_cells.bit_length() - 1))
        starts = (np.arange(1 << (31 - _NORM_BITS), dtype=np.uint32) << _NORM_BITS).view(np.float32)
        with np.errstate(invalid="ignore"):  # bit patterns of NaN, which are never looked up
            norms = np.sqrt(starts, dtype=np.float64)
        self.norm_cells = np.searchsorted(config.norm_edges, norms, side="right").astype(np.intp)


@lru_cache(maxsize=16)
def _frame(config: VectorsConfig) -> _Frame:
    return _Frame(config)


class Pass:
    """Working memory of one update: the buffers, reused for every block, and the running totals."""

    def __init__(self, config: VectorsConfig) -> None:
        self.config, self.frame = config, _frame(config)
        d, b = config.dimension, config.block
        f, p, k = len(config.frequencies), len(config.directions), len(config.centroids)
        scratch = np.empty(b * max(8 * d, 4 * f, 4 * k, 8 * p), dtype=np.uint8)  # used in turn: it stays in the cache
        self.flags = scratch[:b * d].view(np.bool_).reshape(b, d)
        self.wide = scratch[:8 * b * d].view(np.float64).reshape(b, d)
        self.near = scratch[:4 * b * k].view(np.float32).reshape(b, k)
        self.places = scratch[:8 * b * p].view(np.intp).reshape(p, b)
        self.theta = scratch[:4 * b * f].view(np.float32).reshape(b, f)
        self.rows = np.zeros((b, self.frame.width), dtype=np.float32)
        self.along = np.empty((b, p), dtype=np.float32)
        self.ones = np.ones(b)
        self.n = 0
        self.defects = np.zeros(len(DEFECTS), dtype=np.int64)
        self.sums, self.outer = np.zeros(d), np.zeros((d, d), order="F")
        self.waves = _Waves(config.octaves, f, b)
        self.cells = np.zeros(k, dtype=np.int64)
        self.fine = np.zeros(p * GRID, dtype=np.int64)
        self.norms = np.zeros(len(config.norm_edges) + 1, dtype=np.int64)
        self.repeats = np.zeros(config.repeat_cells, dtype=np.int64)
        self.zeros = 0

    def run(self, blocks: Iterable[NDArray[np.float32]]) -> Pass:
        """Add all blocks (each at most `config.block` rows)."""
        with np.errstate(over="ignore", invalid="ignore"):
            for block in blocks:
                if len(block):
                    self._add(block)
        return self

    def totals(self) -> dict[str, NDArray[Any] | int]:
        """What was added, as the arrays of `Vectors`."""
        config, d, p = self.config, self.config.dimension, len(self.config.directions)
        below = np.zeros((p, GRID + 1), dtype=np.int64)
        np.cumsum(self.fine.reshape(p, GRID), axis=1, out=below[:, 1:])
        bins = np.diff(np.take_along_axis(below, config.edges.astype(np.intp), axis=1), axis=1)
        return {"n": self.n, "defects": self.defects, "sums": self.sums,
                "outer": self.outer[np.triu_indices(d)],
                "waves": self.waves.totals, "cells": self.cells, "bins": bins,
                "norms": self.norms, "repeats": self.repeats, "zeros": self.zeros}

    def _add(self, block: NDArray[np.float32]) -> None:
        d = block.shape[1]
        squares = np.vecdot(block, block)
        good = self._sound(block, squares)
        if not good.all():
            block, squares = block[good], squares[good]
        m = len(block)
        if m == 0:
            return
        self.zeros += int(np.count_nonzero(np.equal(block, 0, out=self.flags[:m])))
        wide, rows = self.wide[:m], self.rows
        np.copyto(wide, block)
        np.subtract(block, self.config.center, out=rows[:m, :d])
        rows[:m, d], rows[m:] = 1.0, 0.0
        self.n += m
        self.sums += self.ones[:m] @ wide
        self.outer = blas.dsyrk(1.0, wide.T, beta=1.0, c=self.outer, overwrite_c=1)
        self._count(m, squares)
        self.waves.add(np.matmul(rows, self.frame.frequencies, out=self.theta), m)

    def _sound(self, block: NDArray[np.float32], squares: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which rows are sound; the others are counted under their first defect in the order of `DEFECTS`."""
        huge = ~(squares <= LARGEST**2)
        zero = squares == 0
        flat = (block[:, 0] == block[:, block.shape[1] // 2]) & (block[:, 0] == block[:, -1]) & ~huge
        if zero.any():  # the square of a tiny number is 0 too
            zero[zero] = (block[zero] == 0).all(axis=1)
            flat &= ~zero
        if flat.any():
            flat[flat] = (block[flat] == block[flat][:, :1]).all(axis=1)
        bad = huge | zero | flat
        if bad.any():
            nan = np.zeros(len(bad), dtype=bool)
            nan[huge] = np.isnan(block[huge]).any(axis=1)
            self.defects += [nan.sum(), (huge & ~nan).sum(), zero.sum(), flat.sum()]
        good: NDArray[np.bool_] = ~bad
        return good

    def _count(self, m: int, squares: NDArray[np.float32]) -> None:
        frame = self.frame
        where = frame.norm_cells[squares.view(np.uint32) >> _NORM_BITS]
        self.norms += np.bincount(where, minlength=len(self.norms))
        words = np.einsum("ij,j->i", self.rows[:m].view(np.uint64), frame.multipliers)
        self.repeats += np.bincount((words >> frame.shift).astype(np.intp), minlength=len(self.repeats))
        near = np.matmul(self.rows, frame.points, out=self.near)[:m]
        self.cells += np.bincount(near.argmax(axis=1), minlength=len(self.cells))
        along = np.matmul(self.rows, frame.lines, out=self.along)[:m]
        np.clip(along, 0, GRID - 1, out=along)
        places = self.places[:, :m]  # by projection, so that its counts stay in the cache
        np.copyto(places.T, along, casting="unsafe")
        places += frame.starts
        self.fine += np.bincount(places.ravel(), minlength=len(self.fine))


class _Waves:
    """Sums of cos and sin of theta, 2 theta, 4 theta .. in whole numbers of 1 / UNIT.

    By ``sin 2t = 2 p``, ``cos 2t = 1 - 2 q`` with ``p = sin t cos t``, ``q = sin^2 t``. Each value is rounded by adding
    SNAP (for p and q its half: a grid twice as fine), and the sums are of bit patterns as integers modulo 2^32, from
    which the SNAPs are then taken off: exact up to 2^16 rows, more than a block has.
    """

    def __init__(self, octaves: int, frequencies: int, block: int) -> None:
        self.rows = min(max(2 ** int(np.log2(_WAVE / frequencies)), 8 * _FOLD), block) if frequencies < _WAVE else _FOLD
        self.wave = np.empty((octaves, 2, self.rows, frequencies), dtype=np.float32)
        self.spare = np.empty((2, self.rows, frequencies), dtype=np.float32)
        self.snaps = np.full((octaves, 1, 1, 1), SNAP / 2, dtype=np.float32)
        self.snaps[0] = SNAP
        self.bits = self.wave.view(np.uint32).reshape(octaves, 2, self.rows // _FOLD, -1)
        self.sums = np.zeros((octaves, 2, _FOLD * frequencies), dtype=np.uint32)
        self.totals = np.zeros((octaves, 2, frequencies), dtype=np.int64)

    def add(self, theta: NDArray[np.float32], m: int) -> None:
        """Add the first m rows of a block, whose others are 0."""
        self.sums[:] = 0
        chunks = -(-m // self.rows)
        for start in range(0, chunks * self.rows, self.rows):
            self._fill(theta[start:start + self.rows])
            self.wave += self.snaps
            self.sums += np.add.reduce(self.bits, axis=2, dtype=np.uint32)
        self.sums -= self.snaps.view(np.uint32)[..., 0] * np.uint32(chunks * self.rows // _FOLD)
        found = self.sums.view(np.int32).reshape(*self.sums.shape[:2], _FOLD, -1).sum(axis=2, dtype=np.int64)
        self.totals[0] += found[0]
        self.totals[1:, 0] += chunks * self.rows * UNIT - found[1:, 0]
        self.totals[1:, 1] += found[1:, 1]
        self.totals[:, 0] -= (chunks * self.rows - m) * UNIT  # the rows of 0, whose cosine is 1

    def _fill(self, theta: NDArray[np.float32]) -> None:
        """Octave 0: cos and sin. The others: q and p."""
        wave = self.wave
        np.cos(theta, out=wave[0, 0])
        np.sin(theta, out=wave[0, 1])
        cos, sin = wave[0]
        for octave in range(1, len(wave)):
            if octave > 1:
                q, p = wave[octave - 1]
                cos, sin = self.spare
                np.multiply(q, -2, out=cos)
                cos += 1
                np.add(p, p, out=sin)
            np.multiply(sin, sin, out=wave[octave, 0])
            np.multiply(cos, sin, out=wave[octave, 1])
