"""Measure parts of growing size, each in a process of its own, and print a table.

CPU seconds of the work alone (the making of its data aside), peak memory of the process (file
pages included), and the exponent of growth from the size before: 1 is linear.
"""

from __future__ import annotations

import argparse
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.scale.parts import PARTS


def main() -> None:
    """Measure what is asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--most", type=int, default=10**9, help="largest size")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _measure(options.child[0], int(options.child[1]))
        return
    print("part              size      CPU s    growth   peak MB", flush=True)
    for name in options.parts or PARTS:
        before: tuple[int, float] | None = None
        for size in PARTS[name][1]:
            if size > options.most:
                continue
            words = [sys.executable, "-m", "benchmarks.scale", "--child", name, str(size)]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{name} {size} failed: {done.stderr.strip().splitlines()[-1]}", flush=True)
                break
            *notes, line = done.stdout.strip().splitlines()
            seconds, peak = (float(word) for word in line.split())
            growth = "" if before is None else f"{_exponent(before, (size, seconds)):.2f}"
            print(f"{name:<16}{size:>8}{seconds:>10.2f}{growth:>10}{peak:>10.0f}", flush=True)
            for note in notes:
                print(f"    {note}", flush=True)
            before = (size, seconds)


def _measure(name: str, size: int) -> None:
    """Do one part at one size; the last line tells CPU seconds and peak MB."""
    with tempfile.TemporaryDirectory() as folder:
        work = PARTS[name][0](Path(folder), size)
        next(work)
        began = time.process_time()
        for _ in work:
            pass
        seconds = time.process_time() - began
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)


def _exponent(one: tuple[int, float], two: tuple[int, float]) -> float:
    """Of the power by which seconds grow with size."""
    return math.log(max(two[1], 1e-9) / max(one[1], 1e-9)) / math.log(two[0] / one[0])


if __name__ == "__main__":
    main()
