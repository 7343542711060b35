"""Where nothing is compiled, on Windows, there is nothing to compare with Python."""

import sys

collect_ignore = ["test_native.py"] if sys.platform == "win32" else []
