# nodes         documents in a store                attributes    a node's attributes
# node          what arrays and groups share        array         arrays
# group         groups                              creation      new arrays
# display       `info` in words                     tree          a hierarchy in words
# consolidated  documents of a tree in one
"""The hierarchy: arrays and groups over a store."""
