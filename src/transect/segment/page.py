"""The report of a run on masks."""

from pathlib import Path

from transect.run import RunFolder


def write_report(run: RunFolder) -> Path:
    """Write it."""
    return run.path / "report.html"
