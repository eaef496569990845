"""``python -m benchmarks.hot_paths [NAME ...] [--full]``."""

import argparse
import os
import sys

for library in ("OMP", "OPENBLAS", "MKL"):  # before any of them loads: one thread for everybody
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

from benchmarks import hot_paths  # noqa: E402
from transect.errors import TransectError  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=hot_paths.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(hot_paths.names()))
    parser.add_argument("--full", action="store_true", help="the sizes of the design: minutes")
    options = parser.parse_args()
    try:
        for line in hot_paths.run_all(options.names, quick=not options.full):
            print(line, flush=True)
    except TransectError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
