"""Whatever is wrong with the input: one clear error, or a status with the reason; by library and by command line."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import incumbent
from incumbent import cli
from incumbent.errors import ConfigError, DataError

RNG = np.random.default_rng(3)
ROWS = 1200


def rows(n=ROWS, d=8, **more):
    return {"vector": RNG.normal(size=(n, d)).astype(np.float32), "price": RNG.normal(size=n), **more}


def table(columns):
    return pa.table({name: pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), array.shape[1])
                     if getattr(array, "ndim", 1) == 2 else array for name, array in columns.items()})


BASE = table(rows())


def changed(**columns):
    return table({**rows(300), **columns})


def mixed():
    vectors = [[1.0, 2.0, 3.0]] * 250 + [[1.0, 2.0]] * 50
    return pa.table({"vector": pa.array(vectors), "price": np.zeros(300)})


def vectors_with(value, count=300):
    some = RNG.normal(size=(300, 8)).astype(np.float32)
    some[:count] = value
    return changed(vector=some)


#: name -> baseline, current, column, its status, what the reason says
COLUMNS = {
    "wrong dimension": (BASE, changed(vector=RNG.normal(size=(300, 5))), "vector", "invalid", "have 5 dimensions"),
    "mixed dimensions now": (pa.table({"vector": BASE["vector"].combine_chunks().cast(pa.list_(pa.float32()))}),
                             mixed().select(["vector"]), "vector", "invalid", "mixed dimensions"),
    "mixed dimensions then": (pa.concat_tables([mixed()] * 10), mixed(), "vector", "invalid", "mixed dimensions"),
    "another space": (pa.table({"vector": BASE["vector"].combine_chunks().cast(pa.list_(pa.float32()))}),
                      pa.table({"vector": pa.array([[1.0, 2.0]] * 300)}), "vector", "invalid", "another version"),
    "all NaN": (BASE, vectors_with(np.nan), "vector", "invalid", "all 300 rows of the window are defective"),
    "all infinite": (BASE, vectors_with(np.inf), "vector", "invalid", "defective"),
    "all zero": (BASE, vectors_with(0.0), "vector", "invalid", "defective"),
    "constant now": (BASE, vectors_with(2.0), "vector", "invalid", "defective"),
    "constant then": (table(rows(vector=np.ones((ROWS, 8), np.float32))), changed(), "vector", "no_data",
                      "too small for its state"),
    "some NaN": (BASE, vectors_with(np.nan, 30), "vector", "invalid", "values are missing or broken, 0.0% in"),
    "some infinite": (BASE, vectors_with(np.inf, 30), "vector", "invalid", "values are missing or broken, 0.0% in"),
    "one row": (BASE, table(rows(1)), "vector", "no_data", "1 rows are too few, 30 are needed"),
    "no rows now": (BASE, table(rows(0)), "vector", "no_data", "no rows"),
    "no rows then": (table(rows(0)), changed(), "price", "no_data", "no rows"),
    "one row then": (table(rows(1)), changed(), "price", "no_data", "too few"),
    "a small baseline": (table(rows(90)), changed(), "vector", "no_data", "too small for its state"),
    "a column that is gone": (BASE, changed().drop(["price"]), "price", "invalid", "no such column"),
    "text for numbers": (BASE, changed(price=np.array(["a"] * 300)), "price", "invalid", "the current side holds"),
    "numbers for vectors": (BASE, changed(vector=np.zeros(300)), "vector", "invalid", "the current side holds"),
    "nothing but nulls": (BASE, changed(price=pa.nulls(300)), "price", "invalid", "defective or missing"),
    "every id its own": (table(rows(name=np.array([f"r{i}" for i in range(ROWS)]))),
                         changed(name=np.array(["a"] * 300)), "name", "no_data", "a value of its own"),
    "numbers too large": (BASE, changed(price=np.full(300, 1e200)), "price", "invalid", "too large to square"),
}
CODES = {"drift": 1, "invalid": 2, "no_data": 5}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_has_a_status_with_the_reason_and_the_others_go_on(name, tmp_path, capsys):
    baseline, current, column, status, reason = COLUMNS[name]
    whole = name in ("wrong dimension", "some NaN", "all NaN", "text for numbers")
    found = incumbent.compare(baseline, current, progress=False, columns=None if whole else column)
    told = found.stream(column)
    assert (told.status, reason in told.reason) == (status, True), told.reason
    json.loads(found.to_json())
    if whole:
        assert column in found.to_html() and status.replace("_", " ") in found.to_html()
        assert found.stream("price" if column == "vector" else "vector").status == "ok"
    for side, data in (("a", baseline), ("b", current)):
        pq.write_table(data, tmp_path / f"{side}.parquet")
    code, out, _ = run(capsys, tmp_path / "a.parquet", tmp_path / "b.parquet", "--json",
                       *(() if whole else ("--column", column)))
    assert {one["name"]: one["status"] for one in json.loads(out)["streams"]}[column] == status
    assert code == CODES[found.status] if found.status != "ok" else code == 0


def truncated(path):
    pq.write_table(BASE, path / "b.parquet")
    (path / "b.parquet").write_bytes((path / "b.parquet").read_bytes()[:-200])
    return path / "b.parquet"


def cut_npy(path):
    np.save(path / "b.npy", np.zeros((100, 8)))
    (path / "b.npy").write_bytes((path / "b.npy").read_bytes()[:-64])
    return path / "b.npy"


def written(name, content):
    def write(path):
        (path / name).write_bytes(content)
        return path / name
    write.__name__ = name
    return write


def objects(path):
    np.save(path / "b.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    return path / "b.npy"


def folder(path):
    (path / "none").mkdir()
    return path / "none"


FILES = [
    (truncated, "cannot be read as Parquet"), (cut_npy, "cannot be read as NumPy"), (objects, "be read as NumPy"),
    (written("b.parquet", b"hello, I am text"), "is no Parquet"), (written("b.npz", b"PK\x03\x04 broken"), "as NumPy"),
    (written("b.bin", b"\x00\x01\x02\x03"), "no file that can be compared"), (written("b.csv", b""), "is empty"),
    (written("b.csv", b"a,b\n1,2\n3\n"), "cannot be read as CSV"), (folder, "no Parquet files"),
    (written("b.csv", b"a,a\n1,2\n"), "columns of one name"),
    (written("b.csv.gz", gzip.compress(b"x\n1\n")[:-6]), "CSV"),
    (lambda path: path / "nothing.parquet", "no such file"),
]


@pytest.mark.parametrize(("make", "message"), FILES, ids=[f.__name__ for f, _ in FILES])
def test_a_file_that_cannot_be_read_is_one_error(make, message, tmp_path, capsys):
    pq.write_table(BASE, tmp_path / "a.parquet")
    path = make(tmp_path)
    with pytest.raises(DataError, match=message):
        incumbent.compare(BASE, path, progress=False)
    code, out, err = run(capsys, tmp_path / "a.parquet", path)
    assert code == 2 and out == "" and message in err and err.count("incumbent:") == 1 and "Traceback" not in err


ASKED = [({"columns": "prize"}, "did you mean 'price'"), ({"time": "when"}, "no column 'when'"),
         ({"time": "price"}, "holds no times"), ({"segments": "land"}, "no column 'land'"),
         ({"ids": "x"}, "no column 'x'"), ({"item": "item_id", "versions": True}, "no column 'item_id'")]


@pytest.mark.parametrize(("options", "message"), ASKED, ids=lambda one: str(one)[:24])
def test_unknown_columns_are_one_error_with_the_nearest(options, message, tmp_path, capsys):
    with pytest.raises(DataError, match=message):
        incumbent.compare(BASE, BASE, progress=False, **options)
    pq.write_table(BASE, tmp_path / "a.parquet")
    names = {"columns": "column", "segments": "segment", "ids": "id"}
    flags = [part for name, value in options.items()
             for part in ([f"--{names.get(name, name)}"] + ([value] if value is not True else []))]
    code, out, err = run(capsys, tmp_path / "a.parquet", tmp_path / "a.parquet", *flags)
    assert code == 2 and out == "" and message in err


@pytest.mark.parametrize("thing", [object(), 7, {"a": np.zeros(3), "b": np.zeros(4)}, {}, [[1.0, 2.0], [3.0]],
                                   np.zeros((2, 3, 4)), pa.table({"at": pa.array([], pa.timestamp("s"))})],
                         ids=lambda one: type(one).__name__)
def test_what_is_no_data_set_is_one_error(thing):
    with pytest.raises(DataError):
        incumbent.compare(thing, thing, progress=False)


def test_an_empty_window_is_no_window_and_a_small_one_is_no_data():
    days = np.repeat(np.datetime64("2026-03-01", "us") + np.arange(40) * np.timedelta64(1, "D"), 100)
    base = table({"at": days, "price": RNG.normal(size=4000)})
    at = np.concatenate([np.repeat(np.datetime64("2026-05-01", "us"), 200), [np.datetime64("2026-05-03", "us")] * 3])
    found = incumbent.compare(base, table({"at": at, "price": RNG.normal(size=203)}), time="at", progress=False)
    told = {w.window: w for w in found.stream("price").windows if w.side == "current"}
    assert set(told) == {"2026-05-01", "2026-05-02", "2026-05-03"} and told["2026-05-03"].status == "no_data"
    assert told["2026-05-02"].reason == "no rows"
    assert "3 rows are too few" in told["2026-05-03"].reason and found.status == "ok"


def test_a_report_that_cannot_be_written_is_one_error_after_the_result(tmp_path, capsys):
    pq.write_table(BASE, tmp_path / "a.parquet")
    code, out, err = run(capsys, tmp_path / "a.parquet", tmp_path / "a.parquet", "--column", "price", "--html",
                         tmp_path / "nowhere" / "x.html")
    assert code == 2 and "price" in out and "the report cannot be written" in err and "No such file" in err


@pytest.mark.parametrize("seed", [-1, 2 ** 64, 1.5])
def test_a_seed_that_is_none_is_one_error(seed, tmp_path, capsys):
    with pytest.raises(ConfigError, match="a seed is a whole number"):
        incumbent.compare(BASE, BASE, progress=False, seed=seed)
    if isinstance(seed, int):
        pq.write_table(BASE, tmp_path / "a.parquet")
        code, out, err = run(capsys, tmp_path / "a.parquet", tmp_path / "a.parquet", "--seed", seed)
        assert code == 2 and out == "" and "a seed is a whole number" in err


def run(capsys, *arguments):
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        cli.main(["drift", "compare", *map(str, arguments)])
    out, err = capsys.readouterr()
    return end.value.code, out, err
