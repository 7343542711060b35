"""Every file system of fsspec as a store.

store     the options and the URL: `FSStore`
systems   from options to a file system: packages, time-outs, copies after a fork
driver    the contract over paths
reading   which byte ranges are asked for, and what the answers mean
access    files through fsspec: object stores, all keys at once (`ObjectAccess`)
files     file systems with folders, and the one in memory, under a lock (`FileAccess`)
s3        what S3 has besides: bulk erasing, conditional writes
references  values that lie in other files or inline
http      reading from web servers, whatever they make of a range
failures  what the exceptions of the libraries below mean
"""

from zarrv3_store_fsspec.store import FSStore

__all__ = ["FSStore"]
