"""`python -m zarrv3_cli` is `zarrv3`."""

import sys

from zarrv3_cli.running import main

sys.exit(main())
