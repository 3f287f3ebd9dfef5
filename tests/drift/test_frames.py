"""The same rows read the same from every container, in batches of any size."""

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest

from incumbent.drift.frames.opened import opened
from incumbent.drift.frames.values import UNDATED, ids, times
from incumbent.errors import DataError
from incumbent.stats.vectors import Vectors

RNG = np.random.default_rng(5)
ROWS = 1000
VECTORS = RNG.normal(size=(ROWS, 8)).astype(np.float32)
PRICE = RNG.normal(size=ROWS)
SHOP = RNG.choice(["north", "south", "east"], ROWS)
TABLE = pa.table({"vector": pa.FixedSizeListArray.from_arrays(pa.array(VECTORS.ravel()), 8), "price": PRICE,
                  "shop": SHOP})


def pandas_frame(tmp_path):
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame({"vector": list(VECTORS), "price": PRICE, "shop": SHOP})


def polars_frame(tmp_path):
    return pytest.importorskip("polars").from_arrow(TABLE)


def polars_lazy_frame(tmp_path):
    return polars_frame(tmp_path).lazy()


def parquet_file(tmp_path):
    pq.write_table(TABLE, tmp_path / "a.parquet", row_group_size=170)
    return tmp_path / "a.parquet"


def parquet_folder(tmp_path):
    pq.write_table(TABLE.slice(0, 400), tmp_path / "1.parquet")
    pq.write_table(TABLE.slice(400), tmp_path / "2.parquet")
    return tmp_path


def csv_file(tmp_path):
    columns = {f"vector_{i}": VECTORS[:, i] for i in range(8)}
    pcsv.write_csv(pa.table({**columns, "price": PRICE, "shop": SHOP}), tmp_path / "a.csv")
    return tmp_path / "a.csv"


def npz_file(tmp_path):
    np.savez(tmp_path / "a.npz", vector=VECTORS, price=PRICE, shop=SHOP)
    return str(tmp_path / "a.npz")


def npz_compressed(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", vector=VECTORS, price=PRICE, shop=SHOP)
    return tmp_path / "a.npz"


CONTAINERS = [lambda _: TABLE, lambda _: {"vector": VECTORS, "price": PRICE, "shop": SHOP}, pandas_frame, polars_frame,
              polars_lazy_frame, parquet_file, parquet_folder, csv_file, npz_file, npz_compressed]


@pytest.mark.parametrize("make", CONTAINERS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("size", [97, 5000])
def test_every_container_gives_the_same_rows(make, size, tmp_path):
    source = opened(make(tmp_path), "data")
    assert {name: column.kind for name, column in source.columns.items()} == {
        "vector": "vector", "price": "number", "shop": "text"}
    assert source.rows in (None, ROWS)
    for _ in range(2):  # more than once
        price, shop, vectors = [], [], []
        for batch in source.batches(["price", "shop", "vector"], size):
            assert len(batch["price"]) <= size
            price += np.asarray(batch["price"]).tolist()
            values, index = ids(batch["shop"])
            shop += [values[i] for i in index]
            from incumbent.stats.vectors_read import blocks

            vectors += list(blocks(batch["vector"], 8, 100))
        assert shop == SHOP.tolist()
        np.testing.assert_allclose(price, PRICE, rtol=1e-12)
        np.testing.assert_allclose(np.concatenate(vectors), VECTORS, rtol=1e-5)


@pytest.mark.filterwarnings("error")
def test_a_lazy_frame_is_collected_without_a_word_and_a_column_named_batches_is_a_column():
    polars, pandas = pytest.importorskip("polars"), pytest.importorskip("pandas")
    assert opened(polars.LazyFrame({"price": [1.0, 2.0]}), "lazy").rows == 2
    assert opened(pandas.DataFrame({"batches": [1.0, 2.0]}), "frame").rows == 2


def test_a_tensor_is_read_through_dlpack_and_one_that_cannot_be_is_one_clear_error():
    class Tensor:
        def __init__(self, rows):
            self.rows = rows

        def __dlpack__(self, **kwargs):
            if self.rows is None:
                raise RuntimeError("requires grad")
            return self.rows.__dlpack__(**kwargs)

        def __dlpack_device__(self):
            return (1, 0)

    rows = np.arange(12, dtype=np.float32).reshape(3, 4)
    for data, name in ((Tensor(rows), "vector"), ({"title": Tensor(rows)}, "title")):
        (batch,) = opened(data, "baseline").batches([name])
        assert np.array_equal(batch[name], rows)
    assert opened({"n": pa.array([1, 2])}, "baseline").rows == 2
    with pytest.raises(DataError, match=r"the tensor cannot be read.*requires grad"):
        opened(Tensor(None), "current")


def test_a_matrix_is_mapped_and_not_read(tmp_path):
    np.save(tmp_path / "v.npy", VECTORS)
    np.savez(tmp_path / "v.npz", other=PRICE, vector=VECTORS)
    for name in ("v.npy", "v.npz"):
        source = opened(tmp_path / name, "data")
        batch = next(iter(source.batches(["vector"], 10)))
        held = batch["vector"]
        while not isinstance(held, np.memmap) and held.base is not None:
            held = held.base
        assert isinstance(held, np.memmap), name
        np.testing.assert_array_equal(batch["vector"], VECTORS[:10])


def test_numbered_columns_need_to_be_many_and_without_a_gap():
    columns = {f"q{i}": PRICE for i in range(5)} | {f"e{i}": PRICE for i in range(1, 12) if i != 6}
    assert "vector" not in {column.kind for column in opened(columns, "data").columns.values()}


def test_times_of_every_kind_are_microseconds_and_missing_ones_are_said():
    want = [1_767_225_600_000_000, UNDATED]
    stamps = np.array(["2026-01-01", "NaT"], dtype="datetime64[s]")
    texts = pa.array(["2026-01-01", None])
    for column in (stamps, texts, texts.cast(pa.date32()), pa.array(stamps).cast(pa.timestamp("ns")),
                   pa.array(stamps).cast(pa.timestamp("ms", "UTC")), texts.cast(pa.date64())):
        assert times(column, "at").tolist() == want
    for wrong in (np.array([1.0]), pa.array([3]), pa.array(["yesterday"]), np.array(["soon"])):
        with pytest.raises(DataError, match="column at holds no times"):
            times(wrong, "at")


def test_an_id_is_the_same_whether_it_comes_as_a_number_or_as_text():
    for column in (np.array([7, 8]), np.array([7.0, 8.0]), pa.array([7, 8]), pa.array(["7", "8"]),
                   np.array(["7", "8"], dtype=object), pa.array(["7", "8"]).dictionary_encode()):
        values, index = ids(column)
        assert [values[i] for i in index] == ["7", "8"]
    values, index = ids(pa.array(["a", None, "a"]))
    assert [values[i] for i in index] == ["a", None, "a"]
    values, index = ids(np.array(["a", None], dtype=object))
    assert [values[i] for i in index] == ["a", None]


# ---------------------------------------------------------------------------- what is masked, and what is twice
def test_what_is_masked_is_missing_and_not_its_data():
    rng = np.random.default_rng(3)
    vector = np.ma.masked_array(rng.normal(size=(400, 4)).astype("f4"), np.zeros((400, 4), bool))
    vector[7, 2] = np.ma.masked
    number = np.ma.masked_array(np.full(400, 9e9), np.zeros(400, bool))
    number[:100] = np.ma.masked
    day = np.ma.masked_array(np.full(400, "2026-03-01", dtype="datetime64[D]"), np.zeros(400, bool))
    day[0] = np.ma.masked
    batch = next(iter(opened({"v": vector, "x": number, "day": day}, "both").batches(["v", "x", "day"])))
    assert np.isnan(batch["v"][7]).all() and np.isnan(batch["v"]).sum() == 4
    assert [one for one in batch["x"][:100] if one is not None] == [] and batch["x"][100] == 9e9
    assert np.isnat(batch["day"][0]) and not np.isnat(batch["day"][1:]).any()
    state = Vectors.fit(vector, seed=1, centroids=4).update(vector)
    assert int(state.n) == 399 and state.defect_counts()["nan"] == 1


@pytest.mark.parametrize("made", [
    lambda: pa.table([pa.array([1.0, 2.0])] * 2, names=["a", "a"]),
    lambda: pytest.importorskip("pandas").DataFrame([[1.0, 2.0]], columns=["a", "a"])])
def test_columns_of_one_name_are_one_clear_error(made):
    with pytest.raises(DataError, match=r"^frame has columns of one name\. Got 'a'"):
        opened(made(), "frame")
