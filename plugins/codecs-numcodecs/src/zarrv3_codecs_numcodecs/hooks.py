"""What objects of numcodecs are called in a document."""

from typing import Any

from zarrv3.opening.hooks import hookimpl
from zarrv3.store.contract import JSON


@hookimpl
def zarrv3_describe_codec(codec: Any) -> JSON | None:
    """An object of numcodecs as the specification's codec where there is one, else as `numcodecs.<id>`."""
    if not hasattr(codec, "codec_id") or not hasattr(codec, "get_config"):
        return None
    options = dict(codec.get_config())
    name = options.pop("id")
    if name == "blosc":
        shuffles = {0: "noshuffle", 1: "shuffle", 2: "bitshuffle", -1: "shuffle"}
        known = {key: options[key] for key in ("cname", "clevel", "blocksize")}
        return {"name": "blosc", "configuration": {**known, "shuffle": shuffles[options["shuffle"]]}}
    if name == "gzip":
        return {"name": "gzip", "configuration": {"level": options["level"]}}
    if name == "zstd":
        checksum = bool(options.get("checksum", False))
        return {"name": "zstd", "configuration": {"level": options["level"], "checksum": checksum}}
    if name in {"crc32c", "vlen-utf8", "vlen-bytes"} and not options:
        return {"name": name}
    return {"name": f"numcodecs.{name}", "configuration": options}
