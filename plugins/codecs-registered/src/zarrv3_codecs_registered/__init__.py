"""The codecs of the registry zarr-extensions that are neither in the core nor in packages of their own.

elementwise   what the next two share: numbers to numbers, the fill value with them
scale_offset  (x - offset) * scale, in the arithmetic of the data type
cast_value    numbers as another data type, with rules for what does not fit
bitround      fewer bits
reshape       other dimensions, the same order
n5            the blocks of N5
conditional   compressors that each chunk may do without
"""
