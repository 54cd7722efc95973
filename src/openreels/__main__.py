"""`python -m openreels`."""

import sys

from openreels.cli.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
