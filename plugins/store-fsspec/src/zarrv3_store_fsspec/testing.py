"""A server for tests and demonstrations: moto's S3, over real HTTP."""

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from fsspec import filesystem  # type: ignore[import-untyped]
from moto.server import ThreadedMotoServer


@contextmanager
def server() -> Iterator[str]:
    """Start a server on a port of its own; yields a URL with a new bucket; the server and its data go at the end."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs every request
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    try:
        host, port = moto.get_host_and_port()
        endpoint, bucket = f"http://{host}:{port}", f"zarrv3-{uuid.uuid4().hex}"
        login = {"key": "testing", "secret": "testing", "endpoint_url": endpoint}  # any will do
        filesystem("s3", **login, skip_instance_cache=True).mkdir(bucket)
        yield f"s3://{bucket}/example.zarr?key=testing&secret=testing&endpoint_url={endpoint}"
    finally:
        moto.stop()
