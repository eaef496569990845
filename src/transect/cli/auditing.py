"""``transect audit``: a survey, a run, what to annotate next."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from transect.cli.bars import Bars
from transect.cli.format import told_next
from transect.errors import TransectError

__all__ = ["audit_command"]


def audit_command(options: argparse.Namespace) -> int:
    """Tell what is wrong with a survey; exit code 1 if there is a fault or a warning."""
    import json

    from transect.audit import audit, write_groups

    root = Path(options.data)
    if not root.is_dir():
        raise TransectError(f"{root} is not a folder. Give the folder that holds images/.")
    if options.run:
        return _audit_run(options)
    if options.take_back or (root / "recipe.json").is_file():
        return _annotate(options, root)
    with Bars() as bars:
        found = audit(
            root,
            Path(options.new) if options.new else None,
            question=options.question,
            folds=Path(options.folds) if options.folds else None,
            next_count=options.next,
            threads=options.threads,
            progress=bars,
        )
    if options.html:
        from transect.report.page import Page

        page = Page(f"Audit of {root.resolve().name}")
        found.fill(page)
        page.write(Path(options.html))
    if options.json:
        print(json.dumps(found.to_json(), indent=2))
    else:
        print("\n".join(found.lines()))
        for name in found.next_images:
            print(f"annotate next: {name}")
    if options.write_groups and found.groups:
        written = write_groups(found, root)
        print(f"wrote {len(found.groups)} groups into {written}", file=sys.stderr)
    elif not options.json:
        told_next("", *(("audit", root, "--write-groups") if found.groups else ("train", root)))
    return 0 if found.clean else 1


def _audit_run(options: argparse.Namespace) -> int:
    """Audit the survey of a run that has no audit, and keep it there."""
    from transect import api
    from transect.audit import audit, keep_audit
    from transect.data.survey import fingerprint, open_survey
    from transect.files import noted
    from transect.pipeline.kept import check_files
    from transect.run import RunFolder, locked

    run = RunFolder.open(Path(options.run))
    check_files(run.path)
    survey = open_survey(
        Path(options.data), question=run.recipe().question, missing=run.data().get("missing")
    )
    if not run.same_data(fingerprint(survey)):
        raise TransectError(f"{options.data} is not the survey that {run.path} was trained on.")
    with Bars() as bars:
        found = audit(survey, threads=options.threads, progress=bars)
    with locked(run.path), noted(run.path):
        keep_audit(found, survey, run.path)
    print("\n".join(found.lines()))
    print(f"report:  {api.report(run.path)}")
    told_next(api.Run(run.path).verdict, "score", run.path, "--leak-free")
    return 0 if found.clean else 1


def _annotate(options: argparse.Namespace, root: Path) -> int:
    """Name the photos that a run would learn most from, or take their corrected dots back."""
    from transect.count.annotate import next_to_annotate
    from transect.count.annotation_queue import take_back, write_todo

    if not options.new:
        raise TransectError("name the new pictures too: transect audit RUN NEW --next 20.")
    new = Path(options.new)
    if options.take_back:
        print(f"added {take_back(new, root)} pictures with their dots to {root}")
        told_next("", "train", root)
        return 0
    with Bars() as bars:
        chosen = next_to_annotate(root, new, options.next or 20, progress=bars)
        for one in chosen:
            x0, y0, x1, y1 = one.box
            print(f"annotate next: {one.image} x {x0}-{x1} y {y0}-{y1} (score {one.score:.2f})")
        if options.write:
            write_todo(root, new, chosen, Path(options.write))
    if options.write:
        print(f"wrote {len(chosen)} crops with proposed dots to {options.write}: correct them")
        told_next("", "audit", "DATA", options.write, "--take-back")
    return 0
