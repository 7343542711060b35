"""The codecs of numcodecs, named and configured as zarr-python 3 does (`numcodecs.zlib`, `numcodecs.delta`, …).

compressors  bytes → bytes: blosc, lz4, zstd, zlib, gzip, bz2, lzma, shuffle, base64
checksums    bytes → bytes: crc32, crc32c, adler32, fletcher32, jenkins_lookup3
filters      array → array: delta, bitround, fixedscaleoffset, quantize, packbits, astype; array → bytes: pcodec, zfpy
packbits     array → bytes: packbits of zarr-extensions, which is not that of numcodecs
library      numcodecs itself, imported when the first chunk is encoded or decoded
hooks        what objects of numcodecs are called in a document
"""
