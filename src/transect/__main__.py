"""``python -m transect``, as ``accelerate launch -m transect train ...`` calls it."""

import sys

from transect.cli import main

if __name__ == "__main__":
    sys.exit(main())
