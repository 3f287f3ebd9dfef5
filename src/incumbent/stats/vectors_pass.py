"""One fused pass over blocks of vectors: everything that `Vectors` keeps, in BLAS and whole-array steps.

A row's cell must not depend on the batch that it came in. A matrix product may sum a row's terms in another order when
the block has another shape, so every product here has one fixed shape per configuration (short blocks are padded), and
the features are looked up by the phase in a table of whole numbers of 2^-14. Sums of vectors and of outer products are
float64: a float32 rank-k update is off by some 1e-8 of the magnitudes, and sharding would show it.
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
TURN = 1 << 12  # a phase is looked up to the nearest of so many parts of a turn
NEAREST = np.float32(1.5 * 2**23)  # the low bits of x + NEAREST are x to the nearest whole number, for |x| < 2^22
LARGEST = 1e18  # the square of a larger norm does not fit float32
_TILE = 64  # rows whose places are offset at a time: one long loop in place of many short ones
_LOOK = 1 << 14  # features looked up at a time: they stay in the cache
_EXACT = 1 << 9  # so many whole numbers up to UNIT add in float32 without rounding
_NORM_BITS = 13  # a squared norm is looked up by its exponent and 10 bits: edges of norms are as exact as 0.05 %
DEFECTS = ("nan", "infinite", "zero", "constant")


class _Frame:
    """The weights of a configuration in the layout of the pass: a row is [y, 1, 0 ..], so that products add offsets."""

    def __init__(self, config: VectorsConfig) -> None:
        d = config.dimension
        self.width = d + 2 - d % 2  # even, since rows are hashed as 64-bit words
        f, p, k = len(config.frequencies), len(config.directions), len(config.centroids)
        self.frequencies = np.zeros((self.width, f), dtype=np.float32)
        self.frequencies[:d] = config.frequencies.T.astype(np.float64) * (TURN / (2 * np.pi))
        self.lines = np.zeros((self.width, p), dtype=np.float32)
        self.lines[:d] = (config.directions / config.steps[:, None]).T
        self.lines[d] = -config.lows / config.steps
        bins = config.edges.shape[1] - 1
        self.bins = np.array([i * bins + np.searchsorted(edges, np.arange(GRID), side="right") - 1
                              for i, edges in enumerate(config.edges)], dtype=np.intp).ravel()
        self.points = np.zeros((self.width, k), dtype=np.float32)
        self.points[:d] = config.centroids.T  # the nearest centroid has the greatest y . m - |m|^2 / 2
        self.points[d] = -0.5 * np.einsum("ij,ij->i", config.centroids, config.centroids, dtype=np.float64)
        self.starts = np.tile(np.arange(p, dtype=np.intp) * GRID, _TILE)
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
        self.places = scratch[:8 * b * p].view(np.intp).reshape(b, p)
        self.theta = scratch[:4 * b * f].view(np.float32).reshape(b, f)
        self.rows = np.zeros((b, self.frame.width), dtype=np.float32)
        self.rows[:, d] = 1.0
        self.along = np.empty((b, p), dtype=np.float32)
        self.ones = np.ones(b)
        self.n = 0
        self.defects = np.zeros(len(DEFECTS), dtype=np.int64)
        self.sums, self.outer = np.zeros(d), np.zeros((d, d) if config.covariance else d, order="F")
        self.waves = _Waves(config.octaves, f, b)
        self.cells = np.zeros(k, dtype=np.int64)
        self.fine = np.zeros(p * GRID, dtype=np.int64)
        self.norms = np.zeros(len(config.norm_edges) + 1, dtype=np.int64)
        self.repeats = np.zeros(config.repeat_cells, dtype=np.int64)
        self.zeros = 0
        self.centred = bool(f or p or k or config.repeat_cells)

    def run(self, blocks: Iterable[NDArray[np.float32]]) -> Pass:
        """Add all blocks (each at most `config.block` rows)."""
        with np.errstate(over="ignore", invalid="ignore"):
            for block in blocks:
                if len(block):
                    self._add(block)
        return self

    def totals(self) -> dict[str, NDArray[Any] | int]:
        """What was added, as the arrays of `Vectors`."""
        config = self.config
        outer = self.outer[np.triu_indices(config.dimension)] if config.covariance else self.outer
        p, edges = config.edges.shape
        bins = np.bincount(self.frame.bins, weights=self.fine, minlength=p * (edges - 1)).astype(np.int64)
        return {"n": self.n, "defects": self.defects, "sums": self.sums, "outer": outer,
                "waves": self.waves.totals.transpose(1, 2, 0).astype(np.int64), "cells": self.cells,
                "bins": bins.reshape(p, edges - 1), "norms": self.norms, "repeats": self.repeats, "zeros": self.zeros}

    def _add(self, block: NDArray[np.float32]) -> None:
        squares = np.vecdot(block, block)
        if not 0 < squares.min() <= squares.max() <= LARGEST**2 or (block[:, 0] == block[:, -1]).any():
            good = self._sound(block, squares)
            if not good.all():
                block, squares = block[good], squares[good]
        m, d = block.shape
        if m == 0:
            return
        self.zeros += int(np.count_nonzero(np.equal(block, 0, out=self.flags[:m])))
        wide = self.wide[:m]
        np.copyto(wide, block)
        self.n += m
        self.sums += self.ones[:m] @ wide
        if self.config.covariance:
            self.outer = blas.dsyrk(1.0, wide.T, beta=1.0, c=self.outer, overwrite_c=1)
        else:
            self.outer += self.ones[:m] @ np.multiply(wide, wide, out=wide)
        where = self.frame.norm_cells[squares.view(np.uint32) >> _NORM_BITS]
        self.norms += np.bincount(where, minlength=len(self.norms))
        if self.centred:
            np.subtract(block, self.config.center, out=self.rows[:m, :d])
            self.rows[m:, :d] = 0.0
            self._count(m)

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

    def _count(self, m: int) -> None:
        frame, rows = self.frame, self.rows
        if len(self.repeats):
            words = np.vecdot(rows[:m].view(np.uint64), frame.multipliers)
            self.repeats += np.bincount((words >> frame.shift).astype(np.intp), minlength=len(self.repeats))
        if len(self.cells):
            near = np.matmul(rows, frame.points, out=self.near)[:m]
            self.cells += np.bincount(near.argmax(axis=1), minlength=len(self.cells))
        if len(self.fine):
            along = np.matmul(rows, frame.lines, out=self.along)
            np.copyto(self.places, np.clip(along, 0, GRID - 1, out=along), casting="unsafe")
            places = self.places.reshape(-1, len(frame.starts))
            places += frame.starts
            self.fine += np.bincount(self.places[:m].ravel(), minlength=len(self.fine))
        if self.theta.size:
            self.waves.add(np.matmul(rows, frame.frequencies, out=self.theta)[:m])


class _Waves:
    """Sums of cos and sin of theta, 2 theta, 4 theta .., looked up to the nearest part of a turn.

    What is looked up is whole, so that float32 sums the rows of a chunk without rounding, in any order. Phases are off
    by 4.4e-4 (root mean square), which moves the mean of a feature by a thousandth of its standard error.
    """

    def __init__(self, octaves: int, frequencies: int, block: int) -> None:
        self.table = _turn(octaves)
        self.rows = min(max(_LOOK // max(frequencies, 1), 1), _EXACT, block)
        self.where = np.empty((self.rows, frequencies), dtype=np.intp)
        self.found = np.empty((self.rows, frequencies, octaves, 2), dtype=np.float32)
        self.ones = np.ones(self.rows, dtype=np.float32)
        self.totals = np.zeros((frequencies, octaves, 2))

    def add(self, theta: NDArray[np.float32]) -> None:
        """Add the rows of a block, phases in units of 1 / TURN; they are spoiled."""
        theta += NEAREST
        bits = theta.view(np.int32)
        bits &= TURN - 1
        for start in range(0, len(bits), self.rows):
            chunk = bits[start:start + self.rows]
            m = len(chunk)
            where = self.where[:m]
            np.copyto(where, chunk)
            found = np.take(self.table, where, axis=0, out=self.found[:m], mode="clip")
            self.totals += (self.ones[:m] @ found.reshape(m, -1)).reshape(self.totals.shape)


@lru_cache(maxsize=8)
def _turn(octaves: int) -> NDArray[np.float32]:
    """One turn of every octave, shape (TURN, octaves, 2)."""
    angles = 2 * np.pi / TURN * (np.arange(TURN)[:, None] * 2 ** np.arange(octaves) % TURN)
    table: NDArray[np.float32] = np.rint(UNIT * np.stack([np.cos(angles), np.sin(angles)], axis=2)).astype(np.float32)
    return table
