"""Small numbers for machine learning as data types: `bfloat16`, `float8_…`, `float6_…`, `float4_…`, `int4`, `int2`, … .

small    `SmallFloat`, `SmallInteger`, `SmallComplex`: the numbers of the package ml_dtypes, in memory, in documents and as fill values
"""

from zarrv3_types_ml_dtypes.small import SmallComplex, SmallFloat, SmallInteger

__all__ = ["SmallComplex", "SmallFloat", "SmallInteger"]
