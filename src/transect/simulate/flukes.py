"""A simulator of humpback flukes: individuals, encounters, bursts, sea and light, as a survey.

An individual is a flat fluke: an outline with its own curve, serration and nicks, a pigment
pattern from white to black, and scars. A photo shows it turned, rolled, bent and partly under
water, in the light and on the sea of its encounter; photos of one burst share sea and light, which
is what a careless split lets a network learn. The underside is never mirrored.
"""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError
from transect.files import atomic_path, write_text

__all__ = ["Fluke", "draw_fluke", "photograph", "photograph_with_box", "write_fluke_survey"]

UNIT = 300  # texture pixels per half width of a fluke
LEFT, TOP = -1.12, -0.50  # of the texture, in half widths; x right, y down
WIDTH, HEIGHT = 2.24, 1.16
JPEG_QUALITY = 88

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Fluke:
    """The underside of one individual, flat.

    Attributes:
        skin: (h, w, 3) float32 RGB in [0, 1].
        alpha: (h, w) float32 in [0, 1], 1 inside the outline.
    """

    skin: Floats
    alpha: Floats


def write_fluke_survey(
    root: Path,
    *,
    identities: int = 60,
    images: int = 500,
    seed: int = 0,
    share_unknown: float = 0.3,
    share_test: float = 0.35,
    size_hw: tuple[int, int] = (160, 320),
    unknown: str = "unknown",
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write simulated photos of flukes as an ordinary survey folder.

    ``images/`` has all photos; ``identities.csv`` (image, identity, group, date, box) those for
    training, ``images.csv`` (image, group, date, split, box) all, and ``truth/identities.csv``
    the truth of the test photos, which no reader of surveys looks at. Training and test share no
    encounter. The tail is long: a few individuals are met often, most once or twice.

    Args:
        root: The folder; it must not exist or be empty.
        identities: Named individuals of the training photos.
        images: Photos in all, about.
        seed: The same seed and numbers give the same photos.
        share_unknown: Of test photos that show an individual without a name; of training photos,
            half of it.
        share_test: Of all photos.
        size_hw: (height, width) of a photo, at least 64 each.
        unknown: The label of individuals without a name.
        progress: Told (photos written, photos in all).

    Returns:
        ``root``.

    Raises:
        TransectError: If the folder has something in it, or a number is out of range.
    """
    if min(size_hw) < 64 or identities < 2 or images < 2 * identities:
        raise TransectError(
            f"a fluke survey needs photos of at least 64 x 64, two individuals and two photos of "
            f"each; got {size_hw}, {identities} individuals and {images} photos. Raise them."
        )
    if not (0 <= share_unknown < 1 and 0 < share_test < 1):
        raise TransectError("share_unknown and share_test must be shares between 0 and 1.")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise TransectError(f"{root} is not an empty folder. Choose another, or remove it first.")
    rng = np.random.default_rng([seed, 1])
    shots = _plan(rng, identities, images, share_unknown, share_test)
    (root / "images").mkdir(parents=True)
    train, every, truth = (io.StringIO() for _ in range(3))
    tables = [csv.writer(t, lineterminator="\n") for t in (train, every, truth)]
    for table, columns in zip(
        tables,
        (
            ("image", "identity", "group", "date", "x0", "y0", "x1", "y1"),
            ("image", "group", "date", "split", "x0", "y0", "x1", "y1"),
            ("image", "identity"),
        ),
        strict=True,
    ):
        table.writerow(columns)
    drawn: tuple[int, Fluke] | None = None
    for number, shot in enumerate(shots):
        if drawn is None or drawn[0] != shot.individual:
            drawn = (shot.individual, draw_fluke(seed, shot.individual))
        photo, box = photograph_with_box(
            drawn[1], encounter=(seed, shot.encounter), frame=shot.frame, size_hw=size_hw
        )
        # Names in an order that says nothing of individual or encounter.
        name = f"{shot.number:05d}.jpg"
        with atomic_path(root / "images" / name) as temporary:
            cv2.imwrite(
                str(temporary),
                cv2.cvtColor(photo, cv2.COLOR_RGB2BGR),
                [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY],
            )
        day = datetime.date(2024, 1, 1) + datetime.timedelta(days=shot.day)
        label = f"w{shot.individual:04d}" if shot.named else unknown
        group = f"e{shot.encounter:04d}"
        split = "test" if shot.test else "train"
        tables[1].writerow([name, group, day.isoformat(), split, *box])
        if shot.test:
            tables[2].writerow([name, label])
        else:
            tables[0].writerow([name, label, group, day.isoformat(), *box])
        if progress is not None:
            progress(number + 1, len(shots))
    write_text(root / "identities.csv", train.getvalue())
    write_text(root / "images.csv", every.getvalue())
    write_text(root / "truth" / "identities.csv", truth.getvalue())
    return root


@dataclass(frozen=True)
class _Shot:
    """One photo to be taken."""

    individual: int
    named: bool
    encounter: int
    frame: int
    day: int
    test: bool
    number: int


def _plan(
    rng: np.random.Generator, identities: int, images: int, share_unknown: float, share_test: float
) -> list[_Shot]:
    """Who is met when: encounters with bursts of one to five photos, a long tail of individuals."""
    test = round(images * share_test)
    train = images - test
    meetings: list[tuple[int, bool, bool, int]] = []  # individual, named, test, photos
    tail = 1.0 / np.arange(1, identities + 1) ** 0.8
    tail /= tail.sum()

    def meet(individual: int, named: bool, is_test: bool, left: int) -> int:
        size = min(left, int(rng.choice([1, 2, 3, 4, 5], p=[0.35, 0.28, 0.2, 0.1, 0.07])))
        meetings.append((individual, named, is_test, size))
        return size

    stranger = identities
    left = train - round(train * share_unknown / 2)
    for person in range(identities):  # everyone at least once
        left -= meet(person, True, False, max(1, min(left - (identities - person - 1), 5)))
    while left > 0:
        left -= meet(int(rng.choice(identities, p=tail)), True, False, left)
    for share, is_test in ((share_unknown / 2 * train, False), (share_unknown * test, True)):
        left = round(share)
        while left > 0:
            left -= meet(stranger, False, is_test, left)
            # A stranger may be met twice within one split, never in both.
            if rng.random() < 0.7:
                stranger += 1
        stranger += 1
    left = test - round(share_unknown * test)
    even = (tail + 1 / identities) / 2  # new photos are less of the same few
    while left > 0:
        left -= meet(int(rng.choice(identities, p=even)), True, True, left)
    days = np.sort(rng.integers(0, 700, len(meetings)))[rng.permutation(len(meetings))]
    numbers = rng.permutation(sum(m[3] for m in meetings))
    shots: list[_Shot] = []
    for encounter in rng.permutation(len(meetings)):
        person, named, is_test, size = meetings[encounter]
        for frame in range(size):
            day, number = int(days[encounter]), int(numbers[len(shots)])
            shots.append(_Shot(person, named, int(encounter), frame, day, is_test, number))
    return sorted(shots, key=lambda s: (s.individual, s.encounter, s.frame))


def draw_fluke(seed: int, individual: int) -> Fluke:
    """Draw the underside of an individual: the same numbers give the same fluke.

    Args:
        seed: Of the population.
        individual: Its number.
    """
    rng = np.random.default_rng([seed, 2, individual])
    height, width = round(HEIGHT * UNIT), round(WIDTH * UNIT)
    outline = _outline(rng)
    at = ((outline - [LEFT, TOP]) * UNIT * 16).astype(np.int32)
    alpha = np.zeros((height, width), np.uint8)
    cv2.fillPoly(alpha, [at], 255, lineType=cv2.LINE_AA, shift=4)
    soft = cv2.GaussianBlur(alpha.astype(np.float32) / 255, (0, 0), 0.8)
    inside = np.asarray(soft, np.float32)
    skin = _pigment(rng, inside)
    _scars(rng, skin)
    depth = np.asarray(
        cv2.distanceTransform((alpha > 127).astype(np.uint8), cv2.DIST_L2, 5), np.float32
    )
    rim = np.clip(depth / (0.07 * UNIT), 0, 1)[..., None]  # thin edges let light through
    skin = skin * (0.86 + 0.14 * rim)
    return Fluke(np.clip(skin, 0, 1).astype(np.float32), inside)


def _outline(rng: np.random.Generator) -> NDArray[np.float64]:
    """(K, 2) x, y of the outline in half widths: trailing edge left to right, then back below."""
    t = np.linspace(0, 1, 400)
    hump, tip = rng.uniform(-0.16, -0.04), rng.uniform(-0.34, 0.02)
    notch, wide = rng.uniform(0.05, 0.16), rng.uniform(0.05, 0.11)
    bow = rng.uniform(-0.02, 0.10)
    sides = []
    for side in (-1, 1):
        own = rng.normal(0, 1, 3)
        rise = hump + 0.015 * own[0]
        end = tip + 0.02 * own[1]
        # From the notch up over the hump, along a hollow to the tip.
        y = rise * (1 - np.exp(-((t / (2 * wide)) ** 2))) + notch * np.exp(-((t / wide) ** 2))
        y = y + (end - rise) * t**2.2 + (bow + 0.02 * own[2]) * np.sin(np.pi * t) ** 1.5
        sides.append((side, _ragged(rng, t, y)))
    tip_y = [s[1][-1] for s in sides]
    chord = rng.uniform(0.30, 0.42)
    sweep = rng.uniform(0.50, 0.85)
    leading = []
    for at in (0, 1):
        # From the tip back to the stalk: full near the body, thin at the tip.
        y = tip_y[at] + (0.16 + chord - tip_y[at]) * (1 - t) ** sweep
        y = y + 0.03 * np.sin(np.pi * t) * rng.normal(0, 0.5)
        leading.append(y)
    stalk = rng.uniform(0.05, 0.08)
    bottom = TOP + HEIGHT
    left = np.stack([-t[::-1], sides[0][1][::-1]], axis=1)
    right = np.stack([t, sides[1][1]], axis=1)
    under_right = np.stack([stalk + (1 - stalk) * t[::-1], leading[1][::-1]], axis=1)
    under_left = np.stack([-(stalk + (1 - stalk) * t), leading[0]], axis=1)
    stem = np.array([[stalk * 1.5, bottom], [-stalk * 1.5, bottom]])
    return np.concatenate([left, right[1:], under_right, stem, under_left])


def _ragged(
    rng: np.random.Generator, t: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A trailing edge with the serration and the nicks of an individual."""
    noise = np.zeros_like(t)
    for waves, size in ((9, 0.012), (23, 0.008), (57, 0.005)):
        knots = rng.normal(0, 1, waves)
        noise += size * np.interp(t * (waves - 1), np.arange(waves), knots)
    y = y + noise * rng.uniform(0.3, 1.2) * np.minimum(1, t * 8)
    for _ in range(rng.poisson(2.2)):
        centre, half = rng.uniform(0.08, 0.95), rng.uniform(0.008, 0.035)
        away = np.abs(t - centre) / half
        shape = np.clip(1 - away, 0, 1) if rng.random() < 0.6 else np.exp(-(away**4))
        y = y + rng.uniform(0.02, 0.10) * shape
    if rng.random() < 0.08:  # a tip bitten off
        y = np.where(t > 0.93, y + 2.0 * (t - 0.93), y)
    return y


def _smooth(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Floats:
    """A random field with mean 0, deviation 1 and this smoothness in texture pixels."""
    step = max(1, int(sigma / 3))
    small = rng.normal(size=(shape[0] // step + 8, shape[1] // step + 8)).astype(np.float32)
    small = np.asarray(cv2.GaussianBlur(small, (0, 0), sigma / step), np.float32)
    small = (small - small.mean()) / max(float(small.std()), 1e-6)
    whole = cv2.resize(small, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(whole, np.float32)


def _pigment(rng: np.random.Generator, alpha: Floats) -> Floats:
    """(h, w, 3) black to white: patches that are partly alike on both sides, mottled, spotted."""
    shape = (alpha.shape[0], alpha.shape[1])
    both = _smooth(rng, shape, 0.16 * UNIT)
    both = np.asarray((both + both[:, ::-1]) / 2, np.float32)
    own = _smooth(rng, shape, 0.10 * UNIT)
    fine = _smooth(rng, shape, 0.025 * UNIT)
    x = np.abs(np.linspace(LEFT, LEFT + WIDTH, shape[1], dtype=np.float32))
    y = np.linspace(TOP, TOP + HEIGHT, shape[0], dtype=np.float32)[:, None]
    edge = np.asarray(
        cv2.distanceTransform((alpha > 0.5).astype(np.uint8), cv2.DIST_L2, 5), np.float32
    )
    dark_rim = np.exp(-((edge / (0.05 * UNIT)) ** 2)) * rng.uniform(0.5, 2.5)
    middle = np.exp(-((x / 0.10) ** 2)) * rng.uniform(0.0, 1.8) * (y > -0.1)
    level = rng.normal(0.0, 0.9)  # some are nearly white, some nearly black
    field = 0.9 * both + 0.8 * own + 0.28 * fine + level - dark_rim - middle
    field = field - 0.9 * np.exp(-(((1 - x) / 0.15) ** 2)) * rng.uniform(0, 1)
    white = 1 / (1 + np.exp(-field * rng.uniform(4, 9)))
    spots = _smooth(rng, shape, 0.010 * UNIT)
    dense = 1 / (1 + np.exp(-_smooth(rng, shape, 0.2 * UNIT) * 3))
    white = white * (1 - 0.75 * (spots > 2.2) * dense) + (1 - white) * 0.8 * (spots < -2.4) * dense
    white = np.asarray(cv2.GaussianBlur(white.astype(np.float32), (0, 0), 1.0), np.float32)
    dark = np.array([0.10, 0.11, 0.13], np.float32) * rng.uniform(0.8, 1.3)
    light = np.array([0.86, 0.86, 0.82], np.float32) * rng.uniform(0.9, 1.05)
    grain = 1 + 0.04 * _smooth(rng, shape, 2.0)[..., None]
    skin: Floats = (dark + (light - dark) * white[..., None]) * grain
    return skin


def _scars(rng: np.random.Generator, skin: Floats) -> None:
    """Rake marks of teeth, rings of barnacles, single scratches: drawn into the skin."""
    height, width = skin.shape[:2]

    def tone() -> tuple[float, float, float]:
        value = float(rng.choice([0.08, 0.75, 0.92], p=[0.3, 0.3, 0.4]) + rng.normal(0, 0.03))
        return value, value, value * 0.97

    def anywhere() -> NDArray[np.float64]:
        return rng.uniform([0.12 * width, 0.25 * height], [0.88 * width, 0.75 * height])

    for _ in range(rng.poisson(1.2)):  # rakes: three to six lines side by side
        start, turn = anywhere(), rng.uniform(0, np.pi)
        along = np.array([np.cos(turn), np.sin(turn)])
        across = np.array([-along[1], along[0]])
        length, gap, colour = rng.uniform(0.1, 0.35) * UNIT, rng.uniform(4, 9), tone()
        for line in range(rng.integers(3, 7)):
            a = start + across * gap * line + along * rng.normal(0, 5)
            b = a + along * length * rng.uniform(0.7, 1.1)
            cv2.line(skin, _at(a), _at(b), colour, int(rng.integers(1, 3)), cv2.LINE_AA, 4)
    for _ in range(rng.poisson(3)):  # rings
        radius = int(rng.uniform(3, 10) * 16)
        cv2.circle(skin, _at(anywhere()), radius, tone(), int(rng.integers(1, 4)), cv2.LINE_AA, 4)
    for _ in range(rng.poisson(3)):  # scratches
        begin = anywhere()
        bend = rng.normal(0, 0.06 * UNIT, (2, 2)).cumsum(axis=0)
        path = np.stack([begin, begin + bend[0], begin + bend[1]])
        points = (path * 16).astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(skin, [points], False, tone(), int(rng.integers(1, 3)), cv2.LINE_AA, 4)


def _at(point: NDArray[np.float64]) -> tuple[int, int]:
    """Sixteenths of a pixel, as OpenCV's drawing wants them."""
    return round(float(point[0]) * 16), round(float(point[1]) * 16)


def photograph(
    fluke: Fluke,
    *,
    encounter: tuple[int, int],
    frame: int,
    size_hw: tuple[int, int] = (224, 448),
) -> NDArray[np.uint8]:
    """Take one photo of a burst.

    Args:
        fluke: Whose.
        encounter: (seed, number): sea, light, distance and course are its own.
        frame: Number within the burst; the animal dives on and the camera shakes.
        size_hw: (height, width).

    Returns:
        (H, W, 3) uint8 RGB.
    """
    return photograph_with_box(fluke, encounter=encounter, frame=frame, size_hw=size_hw)[0]


def photograph_with_box(
    fluke: Fluke,
    *,
    encounter: tuple[int, int],
    frame: int,
    size_hw: tuple[int, int] = (224, 448),
) -> tuple[NDArray[np.uint8], tuple[int, int, int, int]]:
    """Take a photo as ``photograph`` does, and say where the fluke is.

    Returns:
        The photo, and x0, y0, x1, y1 of what can be seen of the fluke, both ends inside it.
    """
    place = np.random.default_rng([encounter[0], 3, encounter[1]])
    now = np.random.default_rng([encounter[0], 4, encounter[1], frame])
    height, width = size_hw
    # What the encounter shares.
    yaw, pitch = np.radians(place.uniform(-50, 50)), np.radians(place.uniform(-42, 48))
    scale = place.uniform(0.40, 0.90)
    sun = place.uniform(-1, 1)
    # What moves from frame to frame.
    yaw += np.radians(now.normal(0, 5))
    pitch += np.radians(now.normal(0, 7))
    roll = np.radians(place.normal(0, 7) + now.normal(0, 3))
    scale *= now.uniform(0.92, 1.08)
    curl = place.uniform(-0.12, 0.22) + now.normal(0, 0.03)
    centre = np.array([0.5 + now.normal(0, 0.04), 0.46 + now.normal(0, 0.04)])
    if now.random() < 0.10:  # cut off by the frame
        centre[0] += now.choice([-1, 1]) * now.uniform(0.15, 0.28)
    across, up, depth = _texture_at(size_hw, centre, scale, (yaw, pitch, roll), curl)
    column = ((across - LEFT) * UNIT).astype(np.float32)
    row = ((up - TOP) * UNIT).astype(np.float32)
    skin = np.asarray(cv2.remap(fluke.skin, column, row, cv2.INTER_LINEAR), np.float32)
    alpha = np.asarray(cv2.remap(fluke.alpha, column, row, cv2.INTER_LINEAR), np.float32)
    sea, line = _sea(place, now, size_hw)
    # Under water: the stalk, and sometimes a good part of one lobe.
    level = centre[1] * height + (0.22 + 0.30 * place.random()) * scale * width * 0.5
    if now.random() < 0.30:
        level -= now.uniform(0.10, 0.28) * scale * width * 0.5
    x = np.arange(width, dtype=np.float32)[None]
    y = np.arange(height, dtype=np.float32)[:, None]
    surface = level + (line + now.normal(0, 0.04) * (x - width / 2) / 4)[:1]
    wet = 1 / (1 + np.exp(-(surface - y) / 1.5))
    alpha = alpha * wet
    light = _light(place, now, across, up, depth, sun)
    shown = skin * light[..., None]
    photo = sea * (1 - alpha[..., None]) + shown * alpha[..., None]
    photo = _foam(place, now, photo, surface, alpha, (x, y), scale * width)
    photo = _camera(place, now, photo)
    columns = np.flatnonzero((alpha > 0.5).any(axis=0))
    rows = np.flatnonzero((alpha > 0.5).any(axis=1))
    if not len(columns):  # all under water: somewhere in the middle, as an annotator would say
        columns, rows = np.array([width // 4, 3 * width // 4]), np.array([height // 4, height // 2])
    box = (int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1]))
    return np.clip(np.rint(photo * 255), 0, 255).astype(np.uint8), box


def _texture_at(
    size_hw: tuple[int, int],
    centre: NDArray[np.float64],
    scale: float,
    angles: tuple[float, float, float],
    curl: float,
) -> tuple[Floats, Floats, Floats]:
    """For every pixel: x and y on the flat fluke in half widths, and its distance change."""
    height, width = size_hw
    yaw, pitch, roll = angles
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    half = scale * width / 2
    u = (x - centre[0] * width) / half
    v = (y - centre[1] * height) / half
    cos, sin = np.cos(roll), np.sin(roll)
    u, v = cos * u + sin * v, -sin * u + cos * v
    # A plane turned by yaw and pitch, seen from five half widths away.
    far = 5.0
    ahead = np.array(
        [
            [np.cos(yaw), np.sin(yaw) * np.sin(pitch), 0],
            [0, np.cos(pitch), 0],
            [-np.sin(yaw) / far, np.cos(yaw) * np.sin(pitch) / far, 1],
        ]
    )
    back = np.linalg.inv(ahead)
    w = back[2, 0] * u + back[2, 1] * v + back[2, 2]
    a = (back[0, 0] * u + back[0, 1] * v + back[0, 2]) / w
    b = (back[1, 0] * u + back[1, 1] * v + back[1, 2]) / w
    # Flukes bend: the lobes come up towards the camera or sink away from it.
    b = b + curl * a**2
    return a.astype(np.float32), b.astype(np.float32), (1 / w).astype(np.float32)


def _sea(
    place: np.random.Generator, now: np.random.Generator, size_hw: tuple[int, int]
) -> tuple[Floats, Floats]:
    """(H, W, 3) sea and sky of an encounter, and the (1, W) line of the water at the animal."""
    height, width = size_hw
    tint = np.array(
        [place.uniform(0.22, 0.38), place.uniform(0.31, 0.45), place.uniform(0.37, 0.52)],
        np.float32,
    )
    wind = place.uniform(0.3, 1.0)
    seed = int(place.integers(1 << 31))
    drift = now.integers(0, 12)
    waves = np.zeros((height, width + 64), np.float32)
    rng = np.random.default_rng(seed)
    for sigma, size in ((14.0, 0.5), (5.0, 0.35), (1.8, 0.25)):
        noise = rng.normal(size=(height, width + 64)).astype(np.float32)
        part = cv2.GaussianBlur(noise, (0, 0), sigmaX=sigma * 2.2, sigmaY=sigma * 0.55)
        waves += size * np.asarray(part, np.float32) / max(float(part.std()), 1e-6)
    waves = np.roll(waves, int(drift), axis=1)[:, 32 : 32 + width]
    ramp = np.linspace(1.12, 0.82, height, dtype=np.float32)[:, None]
    sea = tint * (ramp + 0.16 * wind * waves)[..., None]
    caps = np.clip(waves - (2.3 - 0.5 * wind), 0, 1)[..., None]
    sea = sea + 0.5 * caps
    horizon = place.uniform(-0.6, 0.3)
    if horizon > 0:
        sky = np.array([0.72, 0.77, 0.82], np.float32) * place.uniform(0.8, 1.15)
        edge = 1 / (1 + np.exp((np.arange(height) - horizon * height) / 1.5))
        sea = sea * (1 - edge[:, None, None]) + sky * edge[:, None, None]
    knots = rng.normal(0, 1, 9)
    line = np.interp(np.arange(width) + drift, np.linspace(0, width + 16, 9), knots)[None]
    return sea.astype(np.float32), (line * 0.012 * width).astype(np.float32)


def _light(
    place: np.random.Generator,
    now: np.random.Generator,
    across: Floats,
    up: Floats,
    depth: Floats,
    sun: float,
) -> Floats:
    """(H, W) brightness on the skin: sun from a side, a sheen of water, streams running off."""
    strength = place.uniform(0.1, 0.45)
    light = 1 + strength * (sun * np.clip(across, -1.2, 1.2) - 0.7 * np.clip(up, -0.6, 0.6))
    light = light * (0.75 + 0.25 * np.clip(depth, 0.5, 1.5))
    noise = now.normal(size=across.shape).astype(np.float32)
    streams = np.asarray(cv2.GaussianBlur(noise, (0, 0), sigmaX=1.2, sigmaY=9), np.float32)
    light = light + 0.06 * place.random() * streams / max(float(streams.std()), 1e-6)
    if place.random() < 0.35:  # against the light
        light = light * place.uniform(0.35, 0.65)
    return np.clip(light, 0.05, 2.0).astype(np.float32)


def _foam(
    place: np.random.Generator,
    now: np.random.Generator,
    photo: Floats,
    surface: Floats,
    alpha: Floats,
    grid: tuple[Floats, Floats],
    width: float,
) -> Floats:
    """White water where the animal goes down, drops in the air, and what runs over the skin."""
    x, y = grid
    noise = now.normal(size=alpha.shape).astype(np.float32)
    rough = np.asarray(cv2.GaussianBlur(noise, (0, 0), 2.0), np.float32)
    rough /= max(float(rough.std()), 1e-6)
    above = (alpha > 0.5).any(axis=0, keepdims=True)
    over = np.asarray(above, np.float32)
    touching = np.asarray(cv2.GaussianBlur(over, (0, 0), sigmaX=max(width * 0.03, 1)), np.float32)
    band = np.exp(-(((y - surface - 2) / (0.018 * width)) ** 2)) * touching
    amount = place.uniform(0.2, 1.0)
    cover = np.clip(band * (0.7 + 0.5 * rough) * amount, 0, 1)
    if now.random() < 0.25:  # a splash before the fluke
        at, size = now.uniform(0.3, 0.7) * alpha.shape[1], now.uniform(0.06, 0.16) * width
        splash = np.exp(-(((x - at) / size) ** 2) - ((y - surface) / (0.6 * size)) ** 2)
        cover = np.clip(cover + splash * np.clip(0.4 + 0.8 * rough, 0, 1.2), 0, 0.95)
    white = np.array([0.90, 0.93, 0.95], np.float32)
    mixed: Floats = photo * (1 - cover[..., None]) + white * cover[..., None]
    return mixed


def _camera(place: np.random.Generator, now: np.random.Generator, photo: Floats) -> Floats:
    """Exposure, tint, haze, blur and noise; a good part of the older photos are grey."""
    photo = np.clip(photo, 0, 1.5)
    haze = place.uniform(0, 0.22)
    photo = photo * (1 - haze) + haze * 0.75
    photo = photo * place.uniform(0.93, 1.07, 3).astype(np.float32)
    photo = np.clip(photo * place.uniform(0.75, 1.2), 1e-4, 1) ** place.uniform(0.75, 1.3)
    if place.random() < 0.2:
        photo = np.repeat(photo.mean(axis=2, keepdims=True), 3, axis=2)
    blur = place.exponential(0.5) + now.exponential(0.4)
    if blur > 0.25:
        photo = np.asarray(cv2.GaussianBlur(photo.astype(np.float32), (0, 0), min(blur, 2.6)))
    grain = now.normal(0, now.uniform(0.006, 0.035), photo.shape)
    return (photo + grain).astype(np.float32)
