"""Vectors in: every kind of input gives the same state, and a bad one gives one clear error."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from incumbent.errors import DataError
from incumbent.stats.vectors import Vectors
from incumbent.stats.vectors_read import blocks

RNG = np.random.default_rng(11)
ROWS = RNG.normal(size=(700, 6)).astype(np.float32)
ZERO = Vectors.fit(ROWS, seed=1, centroids=4)
WANT = ZERO.update(ROWS)


class Tensor:
    """A tensor that is no array: DLPack from the processor's memory, as torch and TensorFlow give it."""

    def __init__(self, rows, device=(1, 0)):
        self.rows, self.device = rows, device

    def __dlpack__(self, **kwargs):
        return self.rows.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self.device


class Attached(Tensor):
    """A tensor that refuses to be exported, as torch does where a gradient is attached."""

    def __dlpack__(self, **kwargs):
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")


class Arrayed:
    """An object with ``__array__`` alone."""

    def __init__(self, rows):
        self.rows = rows

    def __array__(self, dtype=None, copy=None):
        return np.array(self.rows, dtype=dtype)


class Broken:
    def __array__(self, dtype=None, copy=None):
        raise ValueError("no memory behind it")


def arrow(rows):
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 6)


def mapped(tmp_path):
    np.save(tmp_path / "rows.npy", ROWS)
    return np.load(tmp_path / "rows.npy", mmap_mode="r")


GOOD = {
    "list": lambda _: ROWS.tolist(),
    "list of arrays": lambda _: list(ROWS),
    "tuple": lambda _: tuple(map(tuple, ROWS.tolist())),
    "float64": lambda _: ROWS.astype(np.float64),
    "big-endian": lambda _: ROWS.astype(">f4"),
    "Fortran order": lambda _: np.asfortranarray(ROWS),
    "strided": lambda _: np.repeat(ROWS, 2, axis=1)[:, ::2],
    "read-only": lambda _: np.frombuffer(ROWS.tobytes(), np.float32).reshape(-1, 6),
    "memory-mapped": mapped,
    "DLPack": lambda _: Tensor(ROWS),
    "__array__": lambda _: Arrayed(ROWS),
    "Arrow fixed-size list": lambda _: arrow(ROWS),
    "Arrow list": lambda _: pa.array(ROWS.tolist(), pa.list_(pa.float32())),
    "Arrow large list of doubles": lambda _: pa.array(ROWS.tolist(), pa.large_list(pa.float64())),
    "Arrow slice": lambda _: arrow(np.vstack([ROWS[:5], ROWS, ROWS[:3]])).slice(5, 700),
    "Arrow list slice": lambda _: pa.array(np.vstack([ROWS[:5], ROWS]).tolist(), pa.list_(pa.float32())).slice(5),
    "Arrow chunks": lambda _: pa.chunked_array([arrow(ROWS[:100]), arrow(ROWS[100:])]),
    "Arrow column": lambda _: pa.table({"v": arrow(ROWS)})["v"],
    "Arrow tensors": lambda _: pa.FixedShapeTensorArray.from_numpy_ndarray(ROWS),
}


@pytest.mark.parametrize("kind", GOOD)
def test_every_input_gives_the_same_counts(kind, tmp_path):
    got = ZERO.update(GOOD[kind](tmp_path))
    for key in Vectors.arrays:
        want = getattr(WANT, key)
        assert np.allclose(getattr(got, key), want, rtol=1e-12, atol=0) if want.dtype.kind == "f" else \
            np.array_equal(getattr(got, key), want), key


def test_integers_and_half_precision_are_taken():
    assert ZERO.update(np.arange(12).reshape(2, 6)).mean().tolist() == [3, 4, 5, 6, 7, 8]
    assert ZERO.update(np.arange(12, dtype=np.float16).reshape(2, 6)).mean().tolist() == [3, 4, 5, 6, 7, 8]


def test_numbers_beyond_float32_are_infinite_and_counted():
    assert ZERO.update(np.full((2, 6), 1e300) * np.arange(1, 7)).defect_counts()["infinite"] == 2


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float32(), 6)])
def test_a_null_of_arrow_is_a_missing_vector(kind):
    rows = [*ROWS[:3].tolist(), None, [1.0, 2, None, 4, 5, 6]]
    for column in (pa.array(rows, kind), pa.array([ROWS[0].tolist(), *rows], kind).slice(1)):
        state = ZERO.update(column)
        assert (int(state.n), state.defect_counts()["nan"]) == (3, 2)
    assert ZERO.update(pa.array([None, None], pa.list_(pa.float32(), 6))).defect_counts()["nan"] == 2


@pytest.mark.parametrize("nothing", [
    [], np.empty((0, 6)), np.empty((0, 0)), pa.array([], pa.list_(pa.float32(), 6)),
    pa.array([], pa.list_(pa.float32())), pa.chunked_array([], pa.list_(pa.float32()))])
def test_no_rows_are_no_rows(nothing):
    assert ZERO.update(nothing) == ZERO


@pytest.mark.parametrize(("bad", "message"), [
    (ROWS[:, :5], r"wrong dimension. Got \(700, 5\). Expected \(rows, 6\). Hint"),
    (np.empty((0, 5)), "wrong dimension"),
    (arrow(ROWS).flatten(), "not an Arrow column of vectors. Got 'float'. Expected .* Hint: pick the column"),
    (pa.array(np.ones((3, 5)).tolist()), "wrong dimension"),
    (pa.array([[1.0] * 6, [1.0] * 5]), "mixed dimensions. Got 'one of 5'. Expected 6"),
    (pa.array([["a"] * 6]), "real numbers"),
    (pa.table({"v": arrow(ROWS)}), "pick the column"),
    ([[1.0] * 6, [1.0] * 6, [1.0] * 5], "mixed dimensions. Got 'row 2 of 5'. Expected 6, as in row 0"),
    ([[1.0] * 6, None], "mixed dimensions. Got None"),
    ([[1.0] * 6, 4.0], "mixed dimensions. Got 4.0"),
    ([["a"] * 6], "real numbers. Got 'dtype <U1'"),
    ([[None] * 6], "real numbers"),
    (ROWS[0], r"rows of a matrix. Got 'shape \(6,\)'. Expected \(rows, dimension\). Hint: vector\[None, :\]"),
    (ROWS[None], "rows of a matrix"),
    (ROWS.astype(np.complex64), "real numbers. Got 'dtype complex64'. Expected .* Hint: put the real"),
    (ROWS.astype(object), "real numbers. Got 'dtype object'. Expected .* Hint: np.stack"),
    (ROWS > 0, "dtype bool"),
    (np.full((2, 6), "a"), "real numbers"),
    (Tensor(ROWS, device=(2, 0)), "not in the processor's memory. Got 'DLPack device 2'. Hint: tensor.detach"),
    (Attached(ROWS), "cannot be read. Got 'Attached'. Hint: tensor.detach.*require gradient"),
    (Tensor(ROWS[:, :4]), "wrong dimension"),
    (Arrayed(ROWS.astype(complex)), "real numbers"),
    (Broken(), "cannot be read. Got 'Broken'. Hint: no memory"),
    ("text", "not vectors. Got 'str'. Expected"), (None, "not vectors"), ({"v": 1}, "not vectors"),
])
def test_bad_input_is_one_clear_error(bad, message):
    with pytest.raises(DataError, match=message):
        ZERO.update(bad)


def test_blocks_do_not_copy_what_fits():
    (one,) = blocks(ROWS, 6, rows=1000)
    assert np.shares_memory(one, ROWS)
    assert [len(block) for block in blocks(ROWS, 6, rows=256)] == [256, 256, 188]
