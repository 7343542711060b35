# nodes         documents in a store                attributes    a node's attributes
# node          what arrays and groups share        array         arrays
# group         groups                              opening       opening arrays
# creation      new arrays
# replacing     the old node stays until the new one is whole
# display       `info` and `tree` in words
# arguments     what describes a new array
# spellings     arguments as zarr-python spells them
"""The hierarchy: arrays and groups over a store."""
