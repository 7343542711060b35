"""Stores as S3, through clients that people use."""

import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import boto3
import icechunk
import numpy as np
import obstore
import pytest
import s3fs
import zarr
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError
from obstore.store import S3Store
from zarr.storage import ObjectStore

import zarrv3
from zarrv3_serve.s3.testing import server
from zarrv3_store_redis.testing import server as redis

KEYS = {"zarrv3-key": "zarrv3-secret"}


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A server that shows a store in memory and wants signatures."""
    with server("memory://clients", keys=KEYS, writable=True) as url:
        yield url


def boto(url: str) -> Any:
    """A client of Amazon's library."""
    config = Config(
        signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}
    )
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id="zarrv3-key",
        aws_secret_access_key="zarrv3-secret",
        region_name="eu-west-1",
        config=config,
    )


def rust(url: str, prefix: str) -> S3Store:
    """A client of obstore."""
    return S3Store(
        "zarr",
        prefix=prefix,
        endpoint=url,
        access_key_id="zarrv3-key",
        secret_access_key="zarrv3-secret",
        region="us-east-1",
        client_options={"allow_http": True},
        copy_if_not_exists="multipart",
    )


@pytest.fixture(scope="module", params=["memory", "sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that shows a store of some kind and wants no signatures."""
    with ExitStack() as stack:
        if request.param == "redis":
            store = stack.enter_context(redis())
        else:
            store = f"{request.param}:///{tmp_path_factory.mktemp('place')}/place.db"
        yield stack.enter_context(server(store, writable=True))


def test_amazons_library(place: str) -> None:
    """boto3 does with a store what it does with a bucket: it asks, writes, reads, lists, copies and erases."""
    client = boto(place)
    assert [bucket["Name"] for bucket in client.list_buckets()["Buckets"]] == ["zarr"]
    client.head_bucket(Bucket="zarr")
    assert client.get_bucket_location(Bucket="zarr")["LocationConstraint"] is None
    odd = "a/b c+ü?&=%41.bin"
    value = os.urandom(1000)
    written = client.put_object(Bucket="zarr", Key=odd, Body=value)
    assert written["ETag"] == f'"{hashlib.md5(value).hexdigest()}"'
    found = client.get_object(Bucket="zarr", Key=odd)
    assert (found["Body"].read(), found["ETag"]) == (value, written["ETag"])
    part = client.get_object(Bucket="zarr", Key=odd, Range="bytes=-10", IfMatch=written["ETag"])
    assert (part["Body"].read(), part["ContentRange"]) == (value[-10:], "bytes 990-999/1000")
    assert client.head_object(Bucket="zarr", Key=odd)["ContentLength"] == 1000
    with pytest.raises(ClientError, match="304"):
        client.get_object(Bucket="zarr", Key=odd, IfNoneMatch=written["ETag"])
    client.copy_object(Bucket="zarr", Key="a/c", CopySource={"Bucket": "zarr", "Key": odd})
    for number in range(5):
        client.put_object(Bucket="zarr", Key=f"b/{number}", Body=io.BytesIO(b"x"), ChecksumAlgorithm="SHA256")
    names = [item["Key"] for item in client.list_objects_v2(Bucket="zarr", StartAfter="a")["Contents"]]
    assert names == sorted(["a/c", odd, *(f"b/{number}" for number in range(5))])
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket="zarr", Delimiter="/", PaginationConfig={"PageSize": 1}
    )
    assert [p["Prefix"] for page in pages for p in page["CommonPrefixes"]] == ["a/", "b/"]
    erased = client.delete_objects(
        Bucket="zarr", Delete={"Objects": [{"Key": k} for k in (odd, "b/0", "none", "../b/1")]}
    )
    assert [item["Key"] for item in erased["Deleted"]] == [odd, "b/0", "none"]
    assert [(item["Key"], item["Code"]) for item in erased["Errors"]] == [("../b/1", "InvalidArgument")]
    client.delete_object(Bucket="zarr", Key="b/1")
    client.delete_object(Bucket="zarr", Key="b/1")
    with pytest.raises(ClientError, match="NoSuchKey"):
        client.get_object(Bucket="zarr", Key="b/1")
    old = client.list_objects(Bucket="zarr", Marker="a/c", MaxKeys=2)
    assert [item["Key"] for item in old["Contents"]] == ["b/2", "b/3"]
    assert old["IsTruncated"]


def test_conditions(place: str) -> None:
    """A value is created if it is missing, or replaced if it is still the one with the entity tag; else nothing happens."""
    client = boto(place)
    first = client.put_object(Bucket="zarr", Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.put_object(Bucket="zarr", Key="k", Body=b"2", IfNoneMatch="*")
    client.put_object(Bucket="zarr", Key="k", Body=b"3", IfMatch=first)
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.put_object(Bucket="zarr", Key="k", Body=b"4", IfMatch=first)
    with pytest.raises(ClientError, match="NoSuchKey"):
        client.put_object(Bucket="zarr", Key="none", Body=b"4", IfMatch=first)
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.delete_object(Bucket="zarr", Key="k", IfMatch=first)
    assert client.get_object(Bucket="zarr", Key="k")["Body"].read() == b"3"
    client.delete_object(Bucket="zarr", Key="k", IfMatch=client.head_object(Bucket="zarr", Key="k")["ETag"])
    assert "Contents" not in client.list_objects_v2(Bucket="zarr", Prefix="k")


def test_values_in_parts(s3: str) -> None:
    """A large value that comes in parts is one value in the end; what is aborted leaves nothing."""
    client = boto(s3)
    value = os.urandom(18_000_000)
    config = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    client.upload_fileobj(io.BytesIO(value), "zarr", "parts/large", Config=config)
    found = io.BytesIO()
    client.download_fileobj("zarr", "parts/large", found, Config=config)
    assert found.getvalue() == value
    chosen = client.get_object(
        Bucket="zarr", Key="parts/large", ResponseContentType="image/png", Range="bytes=0-1"
    )
    assert chosen["ContentType"] == "image/png"
    upload = client.create_multipart_upload(Bucket="zarr", Key="parts/k")["UploadId"]
    same = {"Bucket": "zarr", "Key": "parts/k", "UploadId": upload}
    parts = []
    for number, body in ((3, b"c"), (1, b"a")):
        tag = client.upload_part(**same, PartNumber=number, Body=body)["ETag"]
        parts.insert(0, {"PartNumber": number, "ETag": tag})
    copied = client.upload_part_copy(
        **same, PartNumber=2, CopySource="zarr/parts/large", CopySourceRange="bytes=10-19"
    )
    parts.insert(1, {"PartNumber": 2, "ETag": copied["CopyPartResult"]["ETag"]})
    assert [part["PartNumber"] for part in client.list_parts(**same)["Parts"]] == [1, 2, 3]
    assert [each["Key"] for each in client.list_multipart_uploads(Bucket="zarr")["Uploads"]] == ["parts/k"]
    with pytest.raises(ClientError, match="InvalidPartOrder"):
        client.complete_multipart_upload(**same, MultipartUpload={"Parts": parts[::-1]})
    with pytest.raises(ClientError, match="InvalidPart"):
        client.complete_multipart_upload(**same, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": "x"}]})
    for _ in range(2):  # a client that did not get the answer asks again
        client.complete_multipart_upload(**same, MultipartUpload={"Parts": parts}, IfNoneMatch="*")
    assert client.get_object(Bucket="zarr", Key="parts/k")["Body"].read() == b"a" + value[10:20] + b"c"
    left = client.create_multipart_upload(Bucket="zarr", Key="parts/left")["UploadId"]
    client.upload_part(Bucket="zarr", Key="parts/left", UploadId=left, PartNumber=1, Body=b"x")
    client.abort_multipart_upload(Bucket="zarr", Key="parts/left", UploadId=left)
    with pytest.raises(ClientError, match="NoSuchUpload"):
        client.upload_part(Bucket="zarr", Key="parts/left", UploadId=left, PartNumber=1, Body=b"x")
    with pytest.raises(ClientError, match="404"):
        client.head_object(Bucket="zarr", Key="parts/left")


def test_fsspec(s3: str) -> None:
    """s3fs reads, writes in parts, finds, copies, moves and removes."""
    fs = s3fs.S3FileSystem(
        key="zarrv3-key",
        secret="zarrv3-secret",
        endpoint_url=s3,
        skip_instance_cache=True,
        use_listings_cache=False,
    )
    fs.pipe("zarr/fs/a b.bin", bytes(range(100)))
    assert fs.cat("zarr/fs/a b.bin", start=2, end=5) == b"\2\3\4"
    with fs.open("zarr/fs/big", "wb", block_size=5 << 20) as file:
        for number in range(11):
            file.write(bytes([number]) * (1 << 20))
    assert fs.info("zarr/fs/big")["size"] == 11 << 20
    fs.cp("zarr/fs/big", "zarr/fs/sub/copy")
    fs.mv("zarr/fs/sub/copy", "zarr/fs/moved")
    assert fs.find("zarr/fs") == ["zarr/fs/a b.bin", "zarr/fs/big", "zarr/fs/moved"]
    fs.touch("zarr/fs/empty")
    assert fs.cat("zarr/fs/empty") == b""
    fs.rm("zarr/fs", recursive=True)
    assert not fs.exists("zarr/fs")


def test_obstore(s3: str) -> None:
    """Obstore reads ranges, writes in parts, copies on a condition, lists behind a name and erases many."""
    store = rust(s3, "rust")
    value = os.urandom(12 << 20)
    obstore.put(store, "a/value", value, use_multipart=True)
    ranges = obstore.get_ranges(store, "a/value", starts=[5, 9 << 20], ends=[25, (9 << 20) + 7])
    assert [bytes(found) for found in ranges] == [value[5:25], value[9 << 20 : (9 << 20) + 7]]
    obstore.copy(store, "a/value", "a/copy", overwrite=False)
    with pytest.raises(Exception, match="exists"):
        obstore.copy(store, "a/value", "a/copy", overwrite=False)
    found = obstore.put(store, "k", b"1", mode="create")
    with pytest.raises(Exception, match="exists"):
        obstore.put(store, "k", b"1", mode="create")
    obstore.put(store, "k", b"2", mode={"e_tag": found["e_tag"]})
    obstore.rename(store, "a/copy", "b/copy")
    listed = [meta["path"] for page in obstore.list(store, offset="a/value") for meta in page]
    assert listed == ["b/copy", "k"]
    obstore.delete(store, ["a/value", "b/copy", "k"])
    assert obstore.list(store).collect() == []


_TENSORSTORE = """
import sys
import numpy as np
import tensorstore as ts

kvstore = {"driver": "s3", "bucket": "zarr", "endpoint": sys.argv[1], "aws_region": "us-east-1", "path": "tensor/"}
shards = {"chunk_shape": [10, 10], "codecs": [{"name": "bytes"}, {"name": "crc32c"}]}
metadata = {
    "shape": [100, 100],
    "data_type": "int32",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [50, 50]}},
    "codecs": [{"name": "sharding_indexed", "configuration": shards}],
}
array = ts.open({"driver": "zarr3", "kvstore": kvstore, "metadata": metadata}, create=True).result()
values = np.arange(10_000, dtype="i4").reshape(100, 100)
array[...] = values
array[3:7, 3:60] = -1
store = ts.KvStore.open(kvstore).result()
first = store.write("k", b"1", if_equal=b"").result().generation
assert store.write("k", b"2", if_equal=first).result().generation
assert not store.write("k", b"3", if_equal=first).result().generation
store.delete_range(ts.KvStore.KeyRange("k", "l")).result()
assert b"k" not in store.list().result()
"""


@pytest.mark.filterwarnings("ignore:Successfully reconstructed")  # zarrs makes a client of its own
def test_tensorstore_and_zarrs(s3: str) -> None:
    """TensorStore writes an array with shards, also in part; our two ways to S3 and zarr-python with zarrs read the same."""
    keys = {"AWS_ACCESS_KEY_ID": "zarrv3-key", "AWS_SECRET_ACCESS_KEY": "zarrv3-secret"}
    ran = subprocess.run(
        [sys.executable, "-c", _TENSORSTORE, s3],
        env={**os.environ, **keys},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    expected = np.arange(10_000, dtype="i4").reshape(100, 100)
    expected[3:7, 3:60] = -1
    place, query = "s3://zarr/tensor", f"?endpoint_url={s3}&key=zarrv3-key&secret=zarrv3-secret"
    for prefix in ("obstore+", "fsspec+"):
        np.testing.assert_array_equal(zarrv3.open_array(f"{prefix}{place}{query}")[...], expected)
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        array = zarr.open_array(ObjectStore(rust(s3, "tensor"), read_only=True), mode="r")
        np.testing.assert_array_equal(array[...], expected)


def repository(url: str) -> Any:
    """Where icechunk keeps its things."""
    return icechunk.s3_storage(
        bucket="zarr",
        prefix="repository",
        endpoint_url=url,
        access_key_id="zarrv3-key",
        secret_access_key="zarrv3-secret",
        region="us-east-1",
        allow_http=True,
        force_path_style=True,
    )


def commit(url: str, cells: list[int]) -> None:
    """Commit each of some cells, again where somebody else was faster."""
    opened = icechunk.Repository.open(repository(url))
    for cell in cells:
        while True:
            session = opened.writable_session("main")
            zarr.open_array(session.store, path="x")[cell] = cell + 1
            try:
                session.commit(str(cell))
            except icechunk.ConflictError:
                continue
            break


@pytest.mark.parametrize("processes", [0, pytest.param(4, marks=pytest.mark.slow)])
def test_icechunk(tmp_path: Path, processes: int) -> None:
    """Threads, and processes, that commit to one repository, in one SQLite file, lose none of their commits."""
    cells = [[*range(5 * i, 5 * i + 5)] for i in range(processes)] or [[0, 1], [2, 3]]
    count = sum(map(len, cells))
    with server(f"sqlite:///{tmp_path}/repository.db", keys=KEYS, writable=True) as url:
        session = icechunk.Repository.create(repository(url)).writable_session("main")
        zarr.create_array(session.store, name="x", shape=(count,), chunks=(1,), dtype="i4")
        session.commit("the array")
        pool = ProcessPoolExecutor(processes, get_context("spawn")) if processes else ThreadPoolExecutor(2)
        with pool:
            for done in [pool.submit(commit, url, own) for own in cells]:
                done.result()
        opened = icechunk.Repository.open(repository(url))
        history = [snapshot.message for snapshot in opened.ancestry(branch="main")]
        assert sorted(map(int, history[:-2])) == [*range(count)]
        found = zarr.open_array(opened.readonly_session("main").store, path="x", mode="r")[...]
        assert [*found] == [cell + 1 for cell in range(count)]


_COUNTER = """
import http.client, sys
address, times = sys.argv[1], int(sys.argv[2])
connection = http.client.HTTPConnection(address, timeout=60)

def ask(method, body=None, **headers):
    connection.request(method, "/zarr/counter", body, {k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    return answer.status, answer.headers["ETag"], answer.read()

for _ in range(times):
    while True:
        status, tag, value = ask("GET")
        condition = {"If_Match": tag} if status == 200 else {"If_None_Match": "*"}
        status, _, text = ask("PUT", str(int(value if status == 200 else 0) + 1).encode(), **condition)
        if status == 200:
            break
        assert status == 412, (status, text)
"""


def test_processes_that_count(place: str) -> None:
    """Of eight processes that add to one number by conditional writes, every acknowledged addition is there in the end."""
    address = place.removeprefix("http://")
    command = [sys.executable, "-I", "-c", _COUNTER, address, "10"]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(8)]
    for process in running:
        _, problem = process.communicate(timeout=120)
        assert process.returncode == 0, problem
    assert (
        obstore.get(
            S3Store("zarr", endpoint=place, skip_signature=True, client_options={"allow_http": True}),
            "counter",
        ).bytes()
        == b"80"
    )
