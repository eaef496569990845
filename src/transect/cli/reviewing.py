"""``transect review``: look and correct in the browser, and what comes of it."""

from __future__ import annotations

import argparse
import contextlib
import time
from pathlib import Path

from transect.cli.format import told_next

__all__ = ["review_command"]


def review_command(options: argparse.Namespace) -> int:
    """Serve a review on this machine until Ctrl-C, or write what was corrected."""
    from transect.review.opening import survey_and_run
    from transect.review.session import opened

    survey, run, missing = survey_and_run(
        Path(options.path),
        Path(options.data) if options.data else None,
        question=options.question,
        missing=options.missing,
    )
    out = Path(options.out or Path("reviews") / survey.root.resolve().name)
    if options.export:
        return _export(out, survey.root, Path(options.export), options.name)
    from transect.review.serve import serving

    with opened(survey, out, name=options.name or "me", run=run, missing=missing) as session:
        if session.torn:
            print(
                "the last action was being written when the review was stopped: "
                f"{session.torn} bytes of it were left out, all before it is there."
            )
        with serving(session, port=options.port) as address, contextlib.suppress(KeyboardInterrupt):
            print(_WELCOME.format(address), flush=True)
            while True:
                time.sleep(1)
    print(f"\nkept in {out}")
    told_next("", "train", survey.root, "--from-review", out)
    return 0


_WELCOME = """open     {}
         (this machine only; who has the address can change the review)
stop     Ctrl-C; nothing is lost"""


def _export(out: Path, data: Path, target: Path, name: str | None) -> int:
    """Write the corrected survey."""
    from transect.review.corrected import write_corrected
    from transect.review.folder import ReviewFolder
    from transect.review.opening import reopened

    folder = ReviewFolder(out)
    count = write_corrected(folder, reopened(folder, data), name, target)
    print(f"wrote {target}: {count} images corrected, the others as they were")
    told_next("", "train", target)
    return 0
