"""Spoil files without end: readers give a result or our own error, in bounded time and memory.

    python -m benchmarks.fuzz [--minutes 5] [--out figures.json] [--corpus FOLDER] [READER ...]

With atheris installed (``pip install atheris``) libFuzzer mutates the files and is led by which of
our lines they reach; else a plain mutator does. Each reader has a process of its own, so that a
crash of a native decoder is seen, too. A file that a reader stumbles over is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.fuzz_seeds import of_folder, of_tools

os.environ.setdefault("OMP_NUM_THREADS", "1")

MEMORY_MB = 2048
"""Most resident memory of a process that reads spoiled files, libraries included."""
SECONDS = 20
"""Most time for one file, on a busy machine."""

_TABLES = {
    "images.csv": b"image,group\na.png,g\n",
    "points.csv": b"image,x,y,class\na.png,1,2,seal\n",
    "counts.csv": b"image,seal\na.png,3\n",
    "identities.csv": b"image,identity,x0,y0,x1,y1\na.png,x,0,0,5,5\n",
}
"""Of a survey: each is spoiled beside good pictures."""


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes:
        file: The name that a file of its kind has.
        seeds: Good files.
        read: The reader.
    """

    file: str
    seeds: tuple[bytes, ...]
    read: Callable[[Path], Any]


def targets(corpus: Path | None = None) -> dict[str, Target]:
    """All readers of strangers' files, by name.

    Args:
        corpus: A folder of more good files: each is a seed of the readers of its suffix.
    """
    from tests.security.strangers import annotations, pictures

    from transect.audit.stored import kept_audit
    from transect.catalogue.photos import photos_from
    from transect.data import images, rle, tables
    from transect.data.convert import read_annotations
    from transect.data.formats.geo import ground_of
    from transect.data.survey import open_survey
    from transect.folds import read_folds
    from transect.recipe import Recipe, from_json, to_json
    from transect.run import RunFolder

    def look(path: Path) -> None:
        for read in (images.image_info, images.read_image, images.read_labels):
            with contextlib.suppress(_ours()):
                read(path)
        reader = images.open_reader(path)
        high, wide = reader.shape[:2]
        reader.window(0, 0, min(high, 64), min(wide, 64))

    def annotated(kind: str) -> Callable[[Path], Any]:
        return lambda path: read_annotations(path, source_format=kind)

    def table(path: Path) -> None:
        found, _ = tables.read_table(path, ["image", "x", "y"], optional=["class"])
        tables.numbers(found["x"])
        tables.match_images(found, ["a.png"], path.parent, path.name)

    def lengths(path: Path) -> None:
        text = path.read_bytes().decode("latin-1")
        for call in (lambda: rle.decode(text, (90, 110)), lambda: rle.decompress_counts(text)):
            with contextlib.suppress(_ours()):
                call()

    def run_folder(path: Path) -> None:
        run = RunFolder(path.parent)
        for call in (run.recipe, run.data):
            with contextlib.suppress(_ours()):
                call()

    def catalogue(path: Path) -> None:
        from transect.catalogue.store import Catalogue

        book = Catalogue.open(path.parent)
        assert book.photos is not None
        assert book.log is not None
        assert len(book.embeddings()) == len(book.photos)
        if book.counts():
            book.merge(book.individuals[0], book.individuals[-1])
            book.undo()

    def survey(path: Path) -> None:
        open_survey(path.parent)

    found = {}
    for kind, data in pictures().items():
        found[f"picture {kind}"] = Target(f"a.{kind}", (data,), look)
    found["tiff tags"] = Target("a.tif", (_geotiff(),), ground_of)
    for kind, (name, data) in {**of_tools(), **annotations()}.items():
        found[kind] = Target(name, (data,), annotated(kind))
    found["labelstudio"] = Target("a.json", (_label_studio(),), annotated("labelstudio"))
    found["gpkg"] = Target("a.gpkg", (_geopackage(),), annotated("geo"))
    with contextlib.suppress(ImportError):
        found["dicom"] = Target("a.dcm", (_slice(),), annotated("dicom"))
    found["csv"] = Target("points.csv", (b"image,x,y,class\na.png,1,2,seal\n",), table)
    found["folds"] = Target(
        "folds.csv", (b"image,fold\na.png,0\n",), lambda path: read_folds(path, ["a.png"])
    )
    found["run lengths"] = Target("a.txt", (b"1 3 10 5", b"52203", b"oo0"), lengths)
    recipe = json.dumps(to_json(Recipe())).encode()
    found["recipe"] = Target(
        "recipe.json", (recipe,), lambda path: from_json(json.loads(_json(path)))
    )
    found["run folder"] = Target("recipe.json", (recipe,), run_folder)
    found["audit of a run"] = Target(
        "audit.json", (_audit(),), lambda path: kept_audit(path.parent)
    )
    found["catalogue"] = Target("catalogue.db", _catalogue(), catalogue)
    found["catalogue table"] = Target("names.csv", (TABLE,), photos_from)
    for name, text in _TABLES.items():
        found[f"survey {name}"] = Target(name, (text,), survey)
    if corpus is None:
        return found
    more = of_folder(corpus)
    return {
        name: replace(one, seeds=(*one.seeds, *more.get(Path(one.file).suffix, ())))
        for name, one in found.items()
    }


def _ours() -> type[Exception]:
    from transect.errors import TransectError

    return TransectError


def _json(path: Path) -> str:
    """JSON text that is JSON; what is not is the business of another reader."""
    text = path.read_bytes().decode("utf-8", "replace")
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return "null"
    return text


def _geotiff() -> bytes:
    from tests.data.formats.test_geo import write_geotiff

    with tempfile.TemporaryDirectory() as folder:
        write_geotiff(Path(folder) / "a.tif", (8, 8), 5e5, 4e6)
        return (Path(folder) / "a.tif").read_bytes()


def _geopackage() -> bytes:
    import sqlite3

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.gpkg"
        with contextlib.closing(sqlite3.connect(path)) as base:
            base.execute("CREATE TABLE gpkg_geometry_columns (table_name, column_name, srs_id)")
            base.execute("CREATE TABLE gpkg_spatial_ref_sys (srs_id, organization_coordsys_id)")
            base.execute("CREATE TABLE seals (geom BLOB, image TEXT)")
            base.execute("INSERT INTO gpkg_geometry_columns VALUES ('seals', 'geom', 1)")
            base.execute("INSERT INTO seals VALUES (x'47500001000000000101', 'a.png')")
            base.commit()
        return path.read_bytes()


def _label_studio() -> bytes:
    result = {
        "type": "rectanglelabels", "original_width": 11, "original_height": 9,
        "value": {"x": 10, "y": 10, "width": 20, "height": 20, "rectanglelabels": ["seal"]},
    }  # fmt: skip
    task = {"data": {"image": "a.png"}, "annotations": [{"result": [result]}]}
    return json.dumps([task]).encode()


def _slice() -> bytes:
    import numpy as np
    import pydicom  # noqa: F401
    from tests.data.formats.test_dicom import write_slice

    with tempfile.TemporaryDirectory() as folder:
        write_slice(Path(folder) / "a.dcm", np.ones((4, 6)), 1.0)
        return (Path(folder) / "a.dcm").read_bytes()


def _audit() -> bytes:
    from tests.small import write_disc_survey

    from transect.audit import audit, keep_audit
    from transect.data.survey import open_survey

    with tempfile.TemporaryDirectory() as folder:
        survey = open_survey(write_disc_survey(Path(folder) / "s", count=2))
        keep_audit(audit(survey, thorough=False), survey, Path(folder))
        return (Path(folder) / "audit.json").read_bytes()


TABLE = b"image,identity,group,date,side\na.png,x,,,\n"


def _catalogue() -> tuple[bytes, ...]:
    with tempfile.TemporaryDirectory() as folder:
        _prepared("catalogue", Path(folder))
        return ((Path(folder) / "catalogue.db").read_bytes(),)


def _prepared(name: str, folder: Path) -> None:
    """What must stand beside the file that is spoiled."""
    import numpy as np
    from PIL import Image

    if name == "catalogue":
        from transect.catalogue.store import Catalogue, Photo

        Catalogue.create(folder, about={}).add(
            [Photo("a.png", "x"), Photo("b.png", "y")], np.ones((2, 2), np.float32), who="fuzz"
        )
    if name in of_tools():
        Image.fromarray(np.eye(9, dtype=np.uint8) * 255).save(folder / "a.png")
    if name == "coco-results":
        from tests.security.strangers import annotations

        (folder / "truth.json").write_bytes(annotations()["coco"][1])
    if name.startswith("survey "):
        for part in ("images", "masks") if name == "survey images.csv" else ("images",):
            (folder / part).mkdir()
            Image.fromarray(np.eye(9, dtype=np.uint8) * 255).save(folder / part / "a.png")


def main(argv: Sequence[str] | None = None) -> int:
    """Fuzz every reader for its share of the time; exit code 1 if one stumbled."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="READER")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--corpus", type=Path, help="a folder of more good files")
    parser.add_argument("--found", type=Path, default=Path("fuzz-found"))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=0.0, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        return _child(options)
    names = options.names or list(targets())
    share = 60 * options.minutes / len(names)
    record = {}
    for name in names:
        words = [sys.executable, "-m", "benchmarks.fuzz", "--child", name]
        words += ["--seconds", f"{share:.0f}", "--seed", str(options.seed)]
        words += ["--found", str(options.found)]
        words += ["--corpus", str(options.corpus)] if options.corpus else []
        done = subprocess.run(words, capture_output=True, text=True, errors="replace")
        runs = re.findall(r"(?:executed_units:\s*|FILES )(\d+)", done.stdout + done.stderr)
        fault = "" if done.returncode == 0 else (done.stderr or done.stdout)[-1500:]
        record[name] = {"files": int(runs[-1]) if runs else 0, "fault": fault}
        print(f"{name:<22}{record[name]['files']:>9} files  {'FAULT' if fault else 'no fault'}",
              flush=True)  # fmt: skip
        if fault:
            print(fault, flush=True)
    total = sum(r["files"] for r in record.values())
    print(f"{total} files for {len(names)} readers")
    if options.out:
        options.out.write_text(json.dumps(record, indent=2) + "\n")
    return 1 if any(r["fault"] for r in record.values()) else 0


def _child(options: argparse.Namespace) -> int:
    """Fuzz one reader in this process."""
    try:
        import atheris
    except ImportError:
        atheris = None
    guided = atheris.instrument_imports(include=["transect"]) if atheris else None
    with guided or contextlib.nullcontext(), contextlib.redirect_stderr(io.StringIO()):
        target = targets(options.corpus)[options.child]
    error = _ours()
    base = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=base))
    _prepared(options.child, folder)
    warnings.simplefilter("ignore")
    (options.found / options.child.replace(" ", "-")).mkdir(parents=True, exist_ok=True)
    found = options.found / options.child.replace(" ", "-")
    path = folder / target.file

    def one(data: bytes) -> None:
        path.write_bytes(data)
        try:
            target.read(path)
        except error:
            return

    try:
        if atheris is None:
            return _mutate(one, target.seeds, found, options)
        corpus = folder / "corpus"
        corpus.mkdir()
        for number, seed in enumerate(target.seeds):
            (corpus / str(number)).write_bytes(seed)
        words = ["fuzz", str(corpus), f"-max_total_time={options.seconds:.0f}"]
        words += [f"-seed={options.seed}", f"-timeout={SECONDS}", f"-rss_limit_mb={MEMORY_MB}"]
        words += ["-print_final_stats=1", f"-artifact_prefix={found}/", "-max_len=20000"]
        atheris.Setup(words, one)
        atheris.Fuzz()
        return 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _mutate(
    one: Callable[[bytes], None], seeds: Sequence[bytes], found: Path, options: argparse.Namespace
) -> int:
    """Without atheris: bytes changed, cut off, doubled and put in, at random."""
    import numpy as np

    rng = np.random.default_rng(options.seed)
    until, count = time.monotonic() + options.seconds, 0
    signal.signal(signal.SIGALRM, _too_long)
    while time.monotonic() < until:
        data = bytearray(seeds[int(rng.integers(len(seeds)))])
        for _ in range(int(rng.integers(1, 9))):
            place = int(rng.integers(0, len(data) + 1))
            kind = int(rng.integers(4))
            if kind == 0 and place < len(data):
                data[place] = int(rng.integers(256))
            elif kind == 1:
                del data[place : place + int(rng.integers(1, 40))]
            elif kind == 2:
                data[place:place] = (
                    rng.integers(0, 256, int(rng.integers(1, 20))).astype(np.uint8).tobytes()
                )
            else:
                data[place:place] = data[place : place + 30]
        signal.alarm(SECONDS)
        try:
            one(bytes(data))
        except BaseException:
            (found / "crash").write_bytes(bytes(data))
            raise
        finally:
            signal.alarm(0)
        count += 1
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > MEMORY_MB << 10:
            (found / "memory").write_bytes(bytes(data))
            raise MemoryError(f"more than {MEMORY_MB} MB")
    print(f"FILES {count}")
    return 0


def _too_long(signum: int, frame: object) -> None:
    raise TimeoutError(f"more than {SECONDS} s for one file")


if __name__ == "__main__":
    sys.exit(main())
