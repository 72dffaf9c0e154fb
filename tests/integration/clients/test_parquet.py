"""Parquet, as data people read it: pandas and PyArrow over fsspec's s3fs, and over PyArrow's own S3 filesystem."""

from __future__ import annotations

import fsspec.asyn
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
import s3fs

from tests.support.clients import MIB, fetch, noise
from tests.support.node import ACCESS_KEY, SECRET_KEY

pytestmark = pytest.mark.real

ROWS = 200_000


@pytest.fixture
def table():
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "id": np.arange(ROWS),
            "value": rng.random(ROWS),
            "name": rng.choice(["left", "right"], ROWS),
        }
    )


@pytest.fixture
def fs(near):
    fs = s3fs.S3FileSystem(
        key=ACCESS_KEY,
        secret=SECRET_KEY,
        endpoint_url=near.endpoint,
        client_kwargs={"region_name": "us-east-1"},
        skip_instance_cache=True,
    )
    yield fs
    fsspec.asyn.sync(fs.loop, fs._s3.close)


def test_fsspec_makes_its_round_trip(fs):
    fs.mkdir("fsspec")
    big = noise(12 * MIB)
    with fs.open("fsspec/dir/big", "wb", block_size=5 * MIB) as file:
        file.write(big)
    fs.pipe("fsspec/small", b"0123456789")
    assert fs.find("fsspec") == ["fsspec/dir/big", "fsspec/small"]
    assert fs.info("fsspec/dir/big")["size"] == len(big)
    assert fs.cat_file("fsspec/small", start=3, end=6) == b"345"
    with fs.open("fsspec/dir/big", "rb") as file:
        file.seek(-5, 2)
        assert file.read() == big[-5:]
    fs.copy("fsspec/dir/big", "fsspec/copy")
    assert fs.cat("fsspec/copy") == big
    assert fetch(fs.sign("fsspec/small", expiration=60)) == (200, b"0123456789")
    fs.rm("fsspec", recursive=True)
    assert not fs.exists("fsspec")


def test_pandas_reads_parquet_over_fsspec(fs, table):
    fs.mkdir("pandas")
    table.to_parquet("pandas/table.parquet", filesystem=fs, row_group_size=20_000)
    some = pd.read_parquet(
        "pandas/table.parquet", columns=["id"], filters=[("id", "<", 10)], filesystem=fs
    )
    assert some["id"].tolist() == list(range(10))
    pd.testing.assert_frame_equal(pd.read_parquet("pandas/table.parquet", filesystem=fs), table)
    fs.rm("pandas", recursive=True)


def test_pyarrow_reads_and_writes_datasets_over_its_own_s3(near, table):
    s3 = pafs.S3FileSystem(
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        endpoint_override=f"127.0.0.1:{near.port}",
        scheme="http",
        region="us-east-1",
        allow_bucket_creation=True,
        allow_bucket_deletion=True,
    )
    s3.create_dir("pyarrow")
    ds.write_dataset(
        pa.Table.from_pandas(table),
        "pyarrow/data",
        format="parquet",
        partitioning=ds.partitioning(pa.schema([("name", pa.string())]), flavor="hive"),
        filesystem=s3,
    )
    found = ds.dataset("pyarrow/data", partitioning="hive", filesystem=s3)
    assert found.count_rows() == ROWS
    left = found.to_table(filter=ds.field("name") == "left", columns=["value"])
    assert left.num_rows == (table["name"] == "left").sum()
    pq.write_table(pa.Table.from_pandas(table), "pyarrow/one.parquet", filesystem=s3)
    s3.copy_file("pyarrow/one.parquet", "pyarrow/two.parquet")
    with s3.open_input_file("pyarrow/two.parquet") as file:
        assert file.read_at(4, 0) == b"PAR1"
    assert pq.read_table("pyarrow/two.parquet", filesystem=s3).num_rows == ROWS
    with s3.open_output_stream("pyarrow/big") as out:
        out.write(noise(12 * MIB))
    assert s3.get_file_info("pyarrow/big").size == 12 * MIB
    s3.delete_dir("pyarrow")
    assert s3.get_file_info("pyarrow").type == pafs.FileType.NotFound
