"""Reading what people have: Parquet, CSV, NumPy files, data frames and arrays, in batches of columns."""
