"""One fused pass over blocks of vectors: everything that `Vectors` keeps, in BLAS and whole-array steps.

A row's cell must not depend on the batch that it came in. A matrix product may sum a row's terms in another order when
the block has another shape, so every product here has one fixed shape per configuration (short blocks are padded), and
all that is summed in float32 is on a grid of 2^-14, on which the sums of a block are exact. Sums of vectors and of
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

UNIT = 1 << 14  # the random Fourier features are whole numbers of 1 / UNIT; 1,024 rows of them add exactly in float32
SNAP = np.float32(1.5 * 2**23 / UNIT)  # x + SNAP - SNAP rounds a float32 in [-1, 1] to that grid
LARGEST = 1e18  # the square of a larger norm does not fit float32
_WAVE = 512  # rows whose features are summed at a time: they stay in the cache, and add exactly
_NORM_BITS = 13  # a squared norm is looked up by its exponent and 10 bits: edges of norms are as exact as 0.05 %
DEFECTS = ("nan", "infinite", "zero", "constant")


class _Frame:
    """The weights of a configuration in the layout of the pass: a row is [y, 1, 0 ..], so that products add offsets."""

    def __init__(self, config: VectorsConfig) -> None:
        d = config.dimension
        self.width = d + 2 - d % 2  # even, since rows are hashed as 64-bit words
        f, p, k = len(config.frequencies), len(config.directions), len(config.centroids)
        self.lines = np.zeros((self.width, f + p), dtype=np.float32)
        self.lines[:d, :f] = config.frequencies.T
        self.lines[:d, f:] = (config.directions / config.steps[:, None]).T
        self.lines[d, f:] = -config.lows / config.steps
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
        self.wide = np.ones((b, d + 1))  # a last column of ones: the sums come with the outer products
        self.rows = np.zeros((b, self.frame.width), dtype=np.float32)
        self.along = np.empty((b, f + p), dtype=np.float32)
        self.near = np.empty((b, k), dtype=np.float32)
        self.wave, self.spare = np.empty((2, 2, min(_WAVE, b), f), dtype=np.float32)
        self.places = np.empty((p, b), dtype=np.intp)
        self.ones = np.ones(b, dtype=np.float32)
        self.n = 0
        self.defects = np.zeros(len(DEFECTS), dtype=np.int64)
        self.outer = np.zeros((d + 1, d + 1), order="F")
        self.waves = np.zeros((config.octaves, 2, f))  # float64 holds multiples of 1 / UNIT exactly to 2^39 rows
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
        return {"n": self.n, "defects": self.defects, "sums": self.outer[:d, d],
                "outer": self.outer[np.triu_indices(d)],
                "waves": np.rint(self.waves * UNIT).astype(np.int64), "cells": self.cells, "bins": bins,
                "norms": self.norms, "repeats": self.repeats, "zeros": self.zeros}

    def _add(self, block: NDArray[np.float32]) -> None:
        d = block.shape[1]
        squares = np.einsum("ij,ij->i", block, block)
        good = self._sound(block, squares)
        if not good.all():
            block, squares = block[good], squares[good]
        m = len(block)
        if m == 0:
            return
        wide, rows = self.wide[:m], self.rows
        np.copyto(wide[:, :d], block)
        np.subtract(block, self.config.center, out=rows[:m, :d])
        rows[:m, d], rows[m:] = 1.0, 0.0
        self.n += m
        self.zeros += np.count_nonzero(block == 0)
        self.outer = blas.dsyrk(1.0, wide.T, beta=1.0, c=self.outer, overwrite_c=1)
        self._count(m, squares)
        for start in range(0, m, _WAVE):
            self._wave(self.along[start:min(start + _WAVE, m), :self.waves.shape[2]])

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
        words = self.rows[:m].view(np.uint64) @ frame.multipliers
        self.repeats += np.bincount((words >> frame.shift).astype(np.intp), minlength=len(self.repeats))
        near = np.matmul(self.rows, frame.points, out=self.near)[:m]
        self.cells += np.bincount(near.argmax(axis=1), minlength=len(self.cells))
        along = np.matmul(self.rows, frame.lines, out=self.along)[:m, -len(frame.starts):]
        np.clip(along, 0, GRID - 1, out=along)
        places = self.places[:, :m]  # by projection, so that its counts stay in the cache
        np.copyto(places.T, along, casting="unsafe")
        places += frame.starts
        self.fine += np.bincount(places.ravel(), minlength=len(self.fine))

    def _wave(self, theta: NDArray[np.float32]) -> None:
        """Sums of cos and sin of theta, 2 theta, 4 theta ..: ``sin 2t = 2 sin t cos t``, ``cos 2t = 1 - 2 sin^2 t``."""
        m = len(theta)
        wave, spare, ones = self.wave[:, :m], self.spare[:, :m], self.ones[:m]
        cos, sin, twice = wave[0], wave[1], spare[0]
        np.cos(theta, out=cos)
        np.sin(theta, out=sin)
        for octave, total in enumerate(self.waves):
            if octave:
                np.add(sin, sin, out=twice)
                cos *= twice
                sin *= twice
                np.subtract(1.0, sin, out=sin)
                cos, sin = sin, cos
            np.add(wave, SNAP, out=spare)
            np.subtract(spare, SNAP, out=spare)
            swapped = octave % 2  # each doubling leaves the cosines where the sines were
            total[swapped] += ones @ spare[0]
            total[1 - swapped] += ones @ spare[1]
