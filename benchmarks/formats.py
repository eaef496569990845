"""How long a survey of many annotated objects takes to and from every format.

    python benchmarks/formats.py [--objects 100000] [--pictures 1000] [NAME ...]

Prints processor seconds to write and to read per format, and objects per second of the slower. The
objects are boxes, dots and outlines of twelve corners, a third each; formats that hold less get
what they make of them. Pictures are 1000 x 1000 pixels.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile

from transect.data.convert import read_annotations
from transect.data.exchange import Annotations, Instance, Picture, Pictures
from transect.data.formats import FORMATS, Format
from transect.data.png import write_png

SIDE = 1000
KEYS = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633)


def survey(objects: int, pictures: int, suffix: str) -> Annotations:
    """Objects spread evenly over pictures."""
    rng = np.random.default_rng(0)
    angles = np.arange(12) * (2 * np.pi / 12)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    made = []
    for number in range(pictures):
        found = []
        for k in range(objects // pictures):
            x, y = rng.uniform(12, SIDE - 12, 2).tolist()
            label, who = f"class {k % 5}", f"individual {k % 50}"
            if k % 3 == 0:
                ring = circle * rng.uniform(4, 9) + (x, y)
                found.append(Instance(label, parts=((ring,),), identity=who))
            elif k % 3 == 1:
                found.append(Instance(label, box=(x, y, x + 9.5, y + 7.25), confidence=0.5))
            else:
                found.append(Instance(label, point=(x, y)))
        made.append(
            Picture(f"site {number % 10}/p{number:05d}{suffix}", (SIDE, SIDE), tuple(found))
        )
    return Annotations(tuple(made), tuple(f"class {k}" for k in range(5)))


def make_pictures(folder: Path, annotations: Annotations) -> Pictures:
    """Write the picture files."""
    blank = np.full((SIDE, SIDE, 1), 7, np.uint8)
    for number, picture in enumerate(annotations.pictures):
        path = folder / picture.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".tif":
            tags = [
                (33550, 12, 3, (1.0, 1.0, 0.0), True),
                (33922, 12, 6, (0.0, 0.0, 0.0, 5e5 + 2 * SIDE * number, 4e6, 0.0), True),
                (34735, 3, len(KEYS), KEYS, True),
            ]
            tifffile.imwrite(path, blank[..., 0], extratags=tags, compression="zlib")
        else:
            write_png(path, blank)
    return Pictures(folder)


def timed(one: Format, annotations: Annotations, pictures: Pictures, target: Path) -> str:
    """One line of the table."""
    assert one.write is not None
    start = time.process_time()
    made = one.fit(annotations)
    fitted = time.process_time()
    one.write(made, target, pictures=pictures)
    written = time.process_time()
    found, _ = read_annotations(target, source_format=one.name, images=pictures.folder)
    done = time.process_time()
    slower = max(written - start, done - written)
    return (
        f"{one.name:<14} {len(made):>8} {len(found):>8} {fitted - start:>8.2f} "
        f"{written - fitted:>8.2f} {done - written:>8.2f} {len(made) / slower:>12,.0f}"
    )


def main() -> None:
    """Time the formats that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--pictures", type=int, default=1000)
    options = parser.parse_args()
    heads = ("objects", "back", "fit s", "write s", "read s")
    print(f"{'format':<14} {' '.join(f'{head:>8}' for head in heads)} {'objects/s':>12}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        ready: dict[str, tuple[Annotations, Pictures]] = {}
        for one in FORMATS.values():
            if one.write is None or (options.names and one.name not in options.names):
                continue
            suffix = ".tif" if one.name == "geo" else ".png"
            if suffix not in ready:
                annotations = survey(options.objects, options.pictures, suffix)
                ready[suffix] = annotations, make_pictures(root / suffix, annotations)
            target = root / f"{one.name}{''.join(one.suffixes[:1])}"
            print(timed(one, *ready[suffix], target), flush=True)


if __name__ == "__main__":
    main()
