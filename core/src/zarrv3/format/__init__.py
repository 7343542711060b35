# extensions    names with configurations           documents     JSON as the specification wants it
# node_names    names of nodes and their paths      metadata      the document of an array or group
# grids         chunk grids and chunk key encodings
# data_types    what elements are                   codecs        how a chunk becomes bytes
"""The format: documents, data types, chunk grids and codecs of the Zarr v3 specification. No I/O."""
