"""The S3 protocol over any store.

app         the ASGI application: a store as a bucket, its limits, and how answers are sent
operations  what a request means, and what it takes to do it
requests    a request as S3 reads it, its body, and an answer
signatures  who signed a request: version 4, in a header or in the query
chunks      bodies in signed or unsigned chunks (`aws-chunked`)
checksums   what a client says about the bytes it sends
objects     reading, writing, copying and erasing values
listing     names in order, page by page
uploads     values that come in parts
documents   XML, out and in
errors      what went wrong, in S3's words
"""

from zarrv3_serve.s3.app import ACCESS_KEY, BUCKET, s3_app

__all__ = ["ACCESS_KEY", "BUCKET", "s3_app"]
