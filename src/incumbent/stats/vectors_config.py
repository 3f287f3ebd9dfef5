"""VectorsConfig: what an embedding state freezes at the baseline. Plain JSON outside, arrays inside, one hash.

Everything here belongs to the baseline and never to the window being judged: `vectors_fit.fit` makes it from a sample.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.errors import DataError

Floats = NDArray[np.float32]

#: field -> little-endian dtype and whether a row has one entry per coordinate (base64 in the plain form)
_ARRAYS = {"center": ("<f4", True), "frequencies": ("<f4", True), "basis": ("<f4", True), "random": ("<f4", True),
           "centroids": ("<f4", True), "variances": ("<f8", False), "lows": ("<f8", False), "steps": ("<f8", False),
           "edges": ("<u2", False), "norm_edges": ("<f8", False)}
GRID = 1024  # fine cells of one projection; edges are whole numbers in [0, GRID]


@dataclass(frozen=True, eq=False)
class VectorsConfig:
    """The frozen frame in which vectors x of `dimension` d are summed; y = x - `center` below.

    No `frequencies`, `centroids`, projections or `repeat_cells` means that the state keeps nothing of the kind;
    `covariance` false, which the plain form alone has, that it keeps of ``sum x x'`` the diagonal.

    `frequencies` (F, d): phases ``theta = y . w`` at the widest bandwidth; octave o uses ``2^o theta``, which is the
    bandwidth ``bandwidth / 2^o``. `basis` (k, d): orthonormal leading principal directions, `variances` (k,) along them,
    `tail_variance` the mean variance per direction outside. `random` (R, d): unit directions. Projections are the first
    `principal` rows of `basis`, then `random`; fine cell of projection p is ``floor((y . p - low) / step)`` clipped to
    [0, GRID), and `edges` (P, cells + 1), rising from 0 to GRID, gather fine cells. `centroids` (K, d) are about the center.
    `norm_edges` are over |x|. `repeat_cells`, a power of two, is the size of the hash histogram. `rows` fitted it.
    """  # noqa: E501

    dimension: int
    seed: int
    rows: int
    bandwidth: float
    octaves: int
    principal: int
    tail_variance: float
    repeat_cells: int
    center: Floats
    frequencies: Floats
    basis: Floats
    random: Floats
    centroids: Floats
    variances: NDArray[np.float64]
    lows: NDArray[np.float64]
    steps: NDArray[np.float64]
    edges: NDArray[np.uint16]
    norm_edges: NDArray[np.float64]
    covariance: bool = True

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> VectorsConfig:
        """The frame of a plain configuration; equal ones give one object. `DataError` where it is none."""
        names = {field.name for field in fields(cls)}
        if {*plain, "covariance"} != names:
            raise DataError("not the configuration of an embedding state", got=sorted({*plain, "covariance"} ^ names),
                            expected="the settings that vectors.fit makes", hint="Vectors.fit(sample, seed=...)")
        try:
            return _parsed(json.dumps(plain, sort_keys=True, allow_nan=False))
        except (TypeError, ValueError, binascii.Error) as error:
            raise DataError("not the configuration of an embedding state", got=type(error).__name__,
                            hint=str(error)) from None

    @cached_property
    def plain(self) -> dict[str, Any]:
        """The configuration as plain JSON values: numbers as they are, arrays as base64."""
        out = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _ARRAYS:
                dtype = _ARRAYS[field.name][0]
                out[field.name] = base64.b64encode(np.ascontiguousarray(value, dtype=dtype).tobytes()).decode()
            elif value is not True:  # a frame of before has no such setting
                out[field.name] = value
        return out

    @cached_property
    def hash(self) -> str:
        """16 hex digits over the plain form."""
        return hashlib.blake2b(json.dumps(self.plain, sort_keys=True).encode(), digest_size=8).hexdigest()

    @property
    def bandwidths(self) -> list[float]:
        """Bandwidths of the kernels ``exp(-|x - y|^2 / (2 b^2))``, widest first."""
        return [self.bandwidth / 2**octave for octave in range(self.octaves)]

    @cached_property
    def directions(self) -> Floats:
        """The projections (P, d): the first `principal` rows of the basis, then the random ones."""
        return np.vstack([self.basis[:self.principal], self.random])

    @cached_property
    def edge_values(self) -> NDArray[np.float64]:
        """The edges of every projection's cells in its own unit, shape (P, cells + 1)."""
        return self.lows[:, None] + self.edges * self.steps[:, None]

    @property
    def block(self) -> int:
        """Rows of one block of the pass: a constant of the frame, so that a row meets the same arithmetic in every batch."""  # noqa: E501
        return int(min(2048, max(256, 2 ** int(np.log2(max(262_144 / self.dimension, 1))))))

    def rotated(self, rotation: NDArray[Any], center: NDArray[Any] | None = None) -> VectorsConfig:
        """The same frame in a rotated space, ``x' = R x``: frequencies, basis, projections, centroids turned with it.

        For a new version of a space that is a rotation R (d, d) of the old one; `center` replaces the turned one.
        """
        turn = np.asarray(rotation, dtype=np.float64)
        d = self.dimension
        if turn.shape != (d, d) or not np.allclose(turn @ turn.T, np.eye(d), atol=1e-5):
            raise DataError("a rotation is orthogonal", got=turn.shape, expected=f"({d}, {d})")
        moved: dict[str, Any] = {name: np.asarray(getattr(self, name) @ turn.T, dtype=np.float32)
                 for name, (_, per_coordinate) in _ARRAYS.items() if per_coordinate}
        if center is not None:
            moved["center"] = np.asarray(center, dtype=np.float32)
        kept = {field.name: getattr(self, field.name) for field in fields(self)}
        return VectorsConfig.of(VectorsConfig(**(kept | moved)).plain)


@lru_cache(maxsize=64)
def _parsed(text: str) -> VectorsConfig:
    plain = json.loads(text)
    d = plain["dimension"]
    for name in ("dimension", "seed", "rows", "octaves", "principal", "repeat_cells"):
        if isinstance(plain[name], bool) or not isinstance(plain[name], int) or plain[name] < 0:
            raise ValueError(f"{name} must be a whole number")
    if plain.get("covariance", False) is not False:
        raise ValueError("covariance is false, or not there")
    values = {name: value for name, value in plain.items() if name not in _ARRAYS}
    for name, (dtype, per_coordinate) in _ARRAYS.items():
        array = np.frombuffer(base64.b64decode(plain[name], validate=True), dtype=dtype)
        if not np.isfinite(array).all():
            raise ValueError(f"{name} is not finite")
        values[name] = array.reshape(-1, d) if per_coordinate and name != "center" else array
    projections = plain["principal"] + len(values["random"])
    values["edges"] = values["edges"].reshape(projections, -1 if projections else 2)
    made = VectorsConfig(**values)
    _check(made, projections)
    return made


def _check(made: VectorsConfig, projections: int) -> None:
    cells = made.repeat_cells
    rules = {
        "dimension must be 2 or more": made.dimension >= 2 and len(made.center) == made.dimension,
        "basis, variances and principal disagree": made.principal <= len(made.basis) == len(made.variances),
        "lows and steps are one per projection": len(made.lows) == len(made.steps) == projections,
        "edges rise from 0 to the grid's end": made.edges.shape[1] >= 2 and bool(
            (made.edges[:, 0] == 0).all() and (made.edges[:, -1] == GRID).all() and (np.diff(made.edges.astype(int)) >= 0).all()),  # noqa: E501
        "steps and bandwidth are above 0": bool((made.steps > 0).all()) and made.bandwidth > 0,
        "norm edges rise": len(made.norm_edges) > 0 and bool((np.diff(made.norm_edges) > 0).all()),
        "repeat_cells is 0 or a power of two from 2 to 2^20": cells in (0, *(1 << bits for bits in range(1, 21))),
        "1 to 8 octaves": 1 <= made.octaves <= 8,
    }
    broken = [rule for rule, holds in rules.items() if not holds]
    if broken:
        raise ValueError("; ".join(broken))
