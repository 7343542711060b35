"""The compiled module. Without a compiler the package installs and has none.

`ZARRV3_NATIVE=pure` leaves it out, `ZARRV3_NATIVE=compiled` fails where it cannot be compiled.
"""

import os
import sysconfig

from setuptools import Extension, setup

SOURCES = ["module", "windows", "lists", "shuffled", "packed", "codecs", "chunks", "strings", "files"]
WANTED = os.environ.get("ZARRV3_NATIVE", "")

# Importing a module that has not been proved to work without Python's lock would bring the lock back for the whole process.
possible = os.name == "posix" and not sysconfig.get_config_var("Py_GIL_DISABLED")

try:
    from numpy import get_include
except ImportError:  # texts are then left to Python
    include = []
else:
    include = [get_include()]

setup(
    ext_modules=[
        Extension(
            "zarrv3_native._kernels",
            [f"src/zarrv3_native/{name}.c" for name in SOURCES],
            include_dirs=include,
            depends=["src/zarrv3_native/kernels.h"],
            extra_compile_args=["-std=c11", "-O3", "-Wall", "-Wextra", "-Wno-missing-field-initializers"],
            optional=WANTED != "compiled",
        )
    ]
    if possible and WANTED != "pure"
    else [],
)
