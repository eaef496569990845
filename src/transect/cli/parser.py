"""All commands of the command line with their options."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from transect import __version__
from transect.cli.answering import (
    calibrate_command,
    catalogue_command,
    export_command,
    predict_command,
    report_command,
    score_command,
    submit_command,
)
from transect.cli.asking import AskingParser
from transect.cli.auditing import audit_command
from transect.cli.helping import (
    completion_command,
    convert_command,
    demo_command,
    doctor_command,
    recipes_command,
)
from transect.cli.reviewing import review_command
from transect.cli.training import train_command

__all__ = ["parser_of_words"]

QUESTIONS = ("segment", "count", "identify", "classify")

_ABOUT = """\
Where is it, how many, which one, what is it: segment, count, identify and classify in survey
pictures.

  transect audit DATA            what is in the folder, what is broken, what leaks
  transect train DATA            train on it and write a run folder with a report
  transect score RUN             every metric with its spread
  transect predict RUN IMAGES    masks, counts or identities for new pictures
  transect report RUN            one page that explains the run
"""


def parser_of_words() -> argparse.ArgumentParser:
    """All commands with their options."""
    parser = AskingParser(
        prog="transect", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"transect {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    audit = _command(commands, "audit", audit_command, "what is broken in a survey, what leaks")
    audit.add_argument("data", metavar="DATA", help="the survey, or with --next a run that counts")
    audit.add_argument("new", metavar="NEW", nargs="?", help="new pictures: how do they differ?")
    audit.add_argument("--question", choices=QUESTIONS)
    _meanings(audit)
    audit.add_argument("--folds", metavar="FOLDS.csv", help="of a run: leaks across its folds")
    audit.add_argument("--run", metavar="RUN", help="keep the audit in a run that has none")
    audit.add_argument("--json", action="store_true", help="print JSON")
    audit.add_argument("--html", metavar="PAGE.html", help="write a page with pictures")
    audit.add_argument(
        "--write-groups", action="store_true", help="write the groups that close leaks"
    )
    audit.add_argument(
        "--next", type=int, default=0, metavar="N", help="name N images to annotate next"
    )
    audit.add_argument(
        "--write", metavar="FOLDER", help="with --next and a run: the crops, with proposed dots"
    )
    audit.add_argument(
        "--take-back", action="store_true", help="add NEW, corrected dots, to the survey DATA"
    )
    audit.add_argument("--threads", type=int, help="CPU threads (default: all cores)")

    train = _command(commands, "train", train_command, "train on a survey and write a run folder")
    train.add_argument("data", metavar="DATA", help="the survey: a folder with images/")
    train.add_argument(
        "--recipe",
        nargs="+",
        default=["auto"],
        metavar="R",
        help="names, files, or a list of runs.toml",
    )
    train.add_argument("--out", metavar="RUN", help="run folder (default runs/<name of DATA>)")
    train.add_argument(
        "--budget", metavar="TIME", help="time for all of it, with its unit: 90s, 15m, 2h"
    )
    train.add_argument("--question", choices=QUESTIONS)
    _meanings(train)
    train.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", dest="settings")
    train.add_argument(
        "--missing",
        choices=("empty", "unlabelled"),
        help="an image without a mask: it has no objects, or it is kept from training",
    )
    train.add_argument(
        "--from-review", metavar="FOLDER", help="on DATA with the corrections of this review"
    )
    train.add_argument("--name", metavar="NAME", help="with --from-review: whose, if of several")
    train.add_argument("--quick", action="store_true", help="the recipe's short twin")
    train.add_argument("--resume", action="store_true", help="go on with the run in --out")
    train.add_argument("--seed", type=int, help="of everything random")
    train.add_argument(
        "--ablate", metavar="A,B,...", help="which trick paid: train again without each of these"
    )
    train.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="train with N seeds (also of --ablate)"
    )
    train.add_argument("--no-audit", action="store_true", help="do not look for faults and leaks")
    train.add_argument(
        "--tune", action="append", default=[], metavar="PATH=LOW..HIGH", help="search a field"
    )
    train.add_argument("--trials", type=int, default=20, metavar="N", help="of --tune (default 20)")
    train.add_argument(
        "--download",
        action="store_true",
        help="pretrained weights may be fetched from the hub (else nothing uses the network)",
    )
    _machine(train)
    _launched(train)

    score = _command(commands, "score", score_command, "every metric of a run with its spread")
    score.add_argument(
        "paths",
        metavar="RUN [TRUTH]",
        nargs="+",
        help="a run and, if you like, a survey with known answers; or runs of several seeds",
    )
    score.add_argument(
        "--leak-free",
        action="store_true",
        help="also without pictures that have a copy or a neighbour in another fold",
    )
    score.add_argument("--json", action="store_true", help="print JSON")
    _meanings(score)
    _machine(score)

    predict = _command(commands, "predict", predict_command, "answer the question for new pictures")
    predict.add_argument("run", metavar="RUN")
    predict.add_argument("images", metavar="IMAGES", help="a folder of pictures, or one")
    predict.add_argument("--out", required=True, metavar="OUT", help="folder to write")
    predict.add_argument(
        "--overwrite", action="store_true", help="remove earlier answers from --out first"
    )
    predict.add_argument(
        "--format",
        action="append",
        default=[],
        dest="formats",
        metavar="F",
        help="also write: coco, rle, probability (masks); density, geojson, gpkg (counts)",
    )
    predict.add_argument(
        "--scale",
        type=_scale,
        metavar="S",
        help="counts: resample new photos by a factor; check, auto (repair) or none",
    )
    _rescale(predict)
    predict.add_argument(
        "--encounters", action="store_true", help="individuals: one answer per encounter"
    )
    predict.add_argument(
        "--catalogue", metavar="FOLDER", help="individuals: those known here, not the run's own"
    )
    _machine(predict)

    calibrate = _command(
        commands, "calibrate", calibrate_command, "correct counts on a dotted pilot"
    )
    calibrate.add_argument("run", metavar="RUN")
    calibrate.add_argument("pilot", metavar="PILOT", help="a small survey with dots")
    calibrate.add_argument("--scale", type=float, default=1.0, metavar="S")
    _meanings(calibrate)

    submit = _command(commands, "submit", submit_command, "write the competition's file")
    submit.add_argument("run", metavar="RUN")
    submit.add_argument("images", metavar="IMAGES")
    submit.add_argument("--out", required=True, metavar="FILE.csv")
    _rescale(submit)
    _machine(submit)

    report = _command(commands, "report", report_command, "write report.html of a run anew")
    report.add_argument("run", metavar="RUN")

    review = _command(commands, "review", review_command, "look and correct in the browser")
    review.add_argument("path", metavar="DATA|RUN", help="a survey, or a run: doubtful ones first")
    review.add_argument("data", metavar="DATA", nargs="?", help="of a run, if it is not found")
    review.add_argument("--name", metavar="NAME", help="who answers (default me); kept apart")
    review.add_argument(
        "--out", metavar="FOLDER", help="where answers are kept (default reviews/<name of DATA>)"
    )
    review.add_argument("--port", type=int, default=0, help="of 127.0.0.1 (default: a free one)")
    review.add_argument(
        "--export", metavar="SURVEY", help="write the survey with the corrections of --name"
    )
    review.add_argument("--question", choices=QUESTIONS)
    review.add_argument("--missing", choices=("empty", "unlabelled"), help="as in train")
    _meanings(review)

    export = _command(commands, "export", export_command, "networks as files for other programs")
    export.add_argument("run", metavar="RUN")
    export.add_argument("--to", default="onnx", choices=("onnx", "torchscript"))
    export.add_argument("--out", required=True, metavar="FOLDER")

    book = _command(commands, "catalogue", catalogue_command, "a run's individuals: change, undo")
    book.add_argument("folder", metavar="FOLDER", help="a run, or its catalogue folder")
    book.add_argument(
        "action",
        metavar="DO",
        help="new list log add ask remove rename merge split assign group export import undo",
    )
    book.add_argument("words", nargs="*", metavar="WORD", help="names, photos, or a folder to add")
    book.add_argument("--run", metavar="RUN", help="a catalogue of its own: the run it is for")
    book.add_argument("--who", default="", metavar="NAME", help="for the log: who says so")
    book.add_argument("--write", action="store_true", help="group: name the proposed individuals")
    _machine(book)

    recipes = _command(
        commands, "recipes", recipes_command, "list the bundled recipes, or explain one"
    )
    recipes.add_argument("name", metavar="NAME", nargs="?")

    convert = _command(
        commands, "convert", convert_command, "from one annotation format to another"
    )
    convert.add_argument("source", metavar="FROM")
    convert.add_argument("target", metavar="TO")
    convert.add_argument("--from", dest="source_format", metavar="FORMAT", help="if not detected")
    convert.add_argument("--to", dest="target_format", metavar="FORMAT", help="if not clear")
    convert.add_argument("--images", metavar="FOLDER", help="where the pictures are")
    convert.formatter_class = argparse.RawDescriptionHelpFormatter
    convert.format_help = _with_formats(convert.format_help)  # type: ignore[method-assign]
    _meanings(convert)

    demo = _command(commands, "demo", demo_command, "the whole job on a built-in survey")
    demo.add_argument("question", nargs="?", default="segment", choices=QUESTIONS)
    demo.add_argument("--out", default="transect-demo", metavar="FOLDER")
    demo.add_argument("--seed", type=int, default=0)
    _machine(demo)

    shell = _command(commands, "completion", completion_command, "complete words in your shell")
    shell.add_argument("shell", choices=("bash", "zsh"))
    doctor = _command(commands, "doctor", doctor_command, "look at the installation")
    doctor.add_argument("--json", action="store_true")
    return parser


def _command(commands: Any, name: str, call: Any, about: str) -> argparse.ArgumentParser:
    """Add one command."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=about, description=about)
    parser.set_defaults(call=call, parser=parser)
    return parser


def _with_formats(plain: Callable[[], str]) -> Callable[[], str]:
    """A help text followed by all formats, which are looked up only when it is asked for."""

    def text() -> str:
        from transect.data.formats import format_lines

        return "\n".join([plain(), *format_lines()]) + "\n"

    return text


def _meanings(parser: argparse.ArgumentParser) -> None:
    """How masks and labels of a survey are to be read, for every command that opens one."""
    parser.add_argument(
        "--masks",
        choices=("binary", "classes", "instances"),
        help="what the numbers in masks/ are, if survey.json and the masks do not tell",
    )
    parser.add_argument(
        "--labels",
        choices=("single", "several", "grades"),
        help="what labels.csv holds, if survey.json and the table do not tell",
    )


def _rescale(parser: argparse.ArgumentParser) -> None:
    """What to do with new pictures whose values are not those of the training."""
    parser.add_argument(
        "--rescale",
        action="store_true",
        help="map the new pictures' values to the range of the training pictures",
    )


def _machine(parser: argparse.ArgumentParser) -> None:
    """The options that say where work is done."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")


def _launched(parser: argparse.ArgumentParser) -> None:
    """The options that say where independent jobs (folds and members) are done."""
    parser.add_argument(
        "--launch",
        choices=("local", "ray"),
        help="independent jobs: one per GPU of this machine (default), or on a Ray cluster",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="jobs at a time on this machine")


def _scale(text: str) -> float | str:
    """A factor, or a word that the counting room knows."""
    try:
        return float(text)
    except ValueError:
        return text
