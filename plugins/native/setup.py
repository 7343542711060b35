"""The compiled module. Without a compiler the package installs and has none."""

import os

from setuptools import Extension, setup

SOURCES = ["module", "windows", "codecs", "chunks", "files"]

setup(
    ext_modules=[
        Extension(
            "zarrv3_native._kernels",
            [f"src/zarrv3_native/{name}.c" for name in SOURCES],
            depends=["src/zarrv3_native/kernels.h"],
            extra_compile_args=["-std=c11", "-O3", "-Wall", "-Wextra", "-Wno-missing-field-initializers"],
            optional=True,
        )
    ]
    if os.name == "posix"
    else [],
)
