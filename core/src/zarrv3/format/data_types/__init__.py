# numerics  bool, integers, floats, complex          binary  r*, raw_bytes, null-terminated and variable bytes
# texts     string, fixed_length_utf32               times   numpy.datetime64, numpy.timedelta64
# structs   struct (legacy: structured)              fills   bit-exact comparison with the fill value
# base      what a data type provides                parsing document or dtype → DataType
"""Data types: what the elements of an array are, in memory, in documents and as fill values."""

from zarrv3.format.data_types.base import DataType
from zarrv3.format.data_types.fills import fill_test, filled
from zarrv3.format.data_types.parsing import data_type_of, parse_data_type

__all__ = [
    "DataType",
    "data_type_of",
    "fill_test",
    "filled",
    "parse_data_type",
]
