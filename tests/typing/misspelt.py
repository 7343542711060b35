"""What type checkers say about misspelt names: mypy checks this file, and a comment without its error is an error.

Nothing here is run.
"""

import zarrv3
from zarrv3 import DirectorStore  # type: ignore[attr-defined]

DirectorStore("x")
zarrv3.opne_array("x")  # type: ignore[attr-defined]
zarrv3.DirectoryStore("x", fsink=True)  # type: ignore[call-arg]
zarrv3.zeros(3, chonks=1)  # type: ignore[call-arg]
zarrv3.create_array(shape=3, dytpe="i4")  # type: ignore[call-arg]
zarrv3.open_array("x", mode="rw")  # type: ignore[arg-type]
zarrv3.save_array("x", [1], compresors=None)  # type: ignore[call-arg]
zarrv3.ones_like([1], overwrit=True)  # type: ignore[call-arg]

group = zarrv3.group()
group.create_array("a", shape=3, shard=4)  # type: ignore[call-arg]
group.require_array("a", shape=3, fillvalue=4)  # type: ignore[call-arg]
group.zeros("a", shape=3, order="A")  # type: ignore[arg-type]
group.full_like("a", [1], chunk=3)  # type: ignore[call-arg]

zarrv3.zeros((3, 4), chunks=(1, None), dtype="i4", store={}, path="a", overwrite=True)
group.full("a", 1, shape=3, compressor=None, dimension_names=["x"])
made: zarrv3.Array = group.create_array("a", data=[1], shards=4, attributes={"a": 1}, codecs=["bytes"])
store: zarrv3.BaseStore = zarrv3.LMDBStore("x")
