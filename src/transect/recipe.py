"""What a recipe is: frozen records of plain values, their JSON form, and ``--set``."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin

from transect.errors import TransectError, unknown_name

__all__ = [
    "Augment",
    "ClassifyDecide",
    "CountDecide",
    "Embedding",
    "Folds",
    "Geometry",
    "IdentifyDecide",
    "Member",
    "Network",
    "Optimizer",
    "Phase",
    "PseudoRound",
    "Recipe",
    "Schedule",
    "SegmentDecide",
    "Stage",
    "from_json",
    "set_field",
    "to_json",
]


@dataclass(frozen=True)
class Geometry:
    """How a picture becomes the network's input.

    Attributes:
        fit: ``tile`` cuts windows out of pictures of any size; ``whole`` feeds whole pictures.
        size_hw: What the network sees, (height, width) in pixels.
        resize_hw: ``whole`` only: size of the content before it is padded to ``size_hw``; None
            keeps the picture's own size if it fits, else shrinks it to ``size_hw``.
        border: Filling of what lies outside the picture: reflect, edge, zero or inpaint.
        scale: ``tile`` only: pictures are resampled by this factor first (2 enlarges).
        overlap: ``tile`` only: share of a tile covered again by its neighbour, [0, 0.9].
        channels: What is stacked into the input: image, grey, depth, row, column, row*image,
            cumsum, dog, fft, glcm, watershed, clahe (or ``clahe:PIXELS``), dehazed; or
            ``mask:NAME`` for the mask that an earlier member predicts (masks only; in training
            from the models that held the picture out). ``coordconv`` is a field of the network.
        normalise: imagenet, unit (divide by the type's maximum), standardise (each picture to
            mean 0, deviation 1), survey (the survey's own mean and deviation) or raw.
        margin: Which one: share of an animal's box that is added on every side.
        aspect: Which one: the box grows on its shorter side to this width / height; None keeps
            it. Then it is brought to ``size_hw``, squeezed if the two differ.
    """

    fit: str = "tile"
    size_hw: tuple[int, int] = (256, 256)
    resize_hw: tuple[int, int] | None = None
    border: str = "reflect"
    scale: float = 1.0
    overlap: float = 0.5
    channels: tuple[str, ...] = ("image",)
    normalise: str = "imagenet"
    margin: float = 0.0
    aspect: float | None = None


@dataclass(frozen=True)
class Network:
    """A dense network: encoder, decoder and the additions of the winners.

    Attributes:
        encoder: A timm name, or ``resenc`` / ``plain`` for ours from scratch.
        weights: ``auto`` takes pretrained weights if they are on this machine, or may be fetched
            (``--download``), and says so if not; ``imagenet`` insists on them, None starts from
            scratch, else a safetensors path. A run pins weights of the hub by commit and digest:
            ``hub:OWNER/NAME@COMMIT#SHA256``.
        decoder: A name of ``models.DECODERS``; for counting from boxes of ``DETECTORS``, of which
            the first of ``decoder_channels`` is the pyramid's width.
        decoder_channels: Widths from the deepest level to the finest; () takes the default.
        width: Base width of the encoders from scratch.
        levels: Resolution levels of the encoders from scratch.
        encoder_attention: ``scse`` after every encoder level, ``scse_dense`` or ``scse_deep``
            (the gates of the salt 1st place's Keras network and of the 28th), or None.
        decoder_attention: The same or ``object_context`` in every decoder block, or None.
        centre: Below the decoder: none, conv, fpa, gcn, object_context, dilated, ema, psp or
            dual_attention.
        hypercolumn: All decoder levels, enlarged and concatenated, feed the head.
        final_kernel: Side of the last convolution, odd. 3 has nine times the weights that push a
            logit, so a short training ends with decided masks where 1 still says "perhaps".
        deep_supervision: Extra pixel heads on the decoder levels (output ``deep``).
        image_head: An empty/non-empty head on the deepest level (output ``empty``).
        pixel_head: A head trained on non-empty images only, fused with the image head into the
            final one (output ``pixel``).
        fusion: How the image head's features enter the final head: ``deep``, by two convolutions
            of 3x3 more (the salt winners'), or ``shift``, by the last convolution alone, which
            costs next to nothing: they raise or lower the picture as a whole.
        stem_stride: Stride of the encoder's first convolution, or None to leave it.
        stem_pool: False removes the encoder's max-pooling after the stem.
        stem_kernel: 3 replaces the first convolution by a new 3x3 one, None leaves it.
        upsample: nearest, bilinear, transpose or shuffle (of pixels).
        dropout: Probability per decoder level from the deepest; () means none.
        head_dropout: Probability before every head, the deep and image heads among them.
        norm: batch, group or instance, for the parts from scratch.
        coordconv: Append x, y in [-1, 1] to the first convolution's input, zero-initialised.
        input_upsample: Bilinear enlargement before the encoder (2 at the salt 9th place).
        output_stride: 8 or 16 keeps the encoder's deepest levels at that stride, with dilated
            convolutions in place of strided ones; None leaves it. Of timm encoders that can.
        leaky: Leaky ReLU of slope 0.01 in the parts from scratch.
    """

    encoder: str = "efficientnet_lite0"
    weights: str | None = "auto"
    decoder: str = "unet"
    decoder_channels: tuple[int, ...] = ()
    width: int = 16
    levels: int = 5
    encoder_attention: str | None = None
    decoder_attention: str | None = None
    centre: str = "none"
    hypercolumn: bool = False
    final_kernel: int = 1
    deep_supervision: bool = False
    image_head: bool = False
    pixel_head: bool = False
    fusion: str = "deep"
    stem_stride: int | None = None
    stem_pool: bool = True
    stem_kernel: int | None = None
    upsample: str = "nearest"
    dropout: tuple[float, ...] = ()
    head_dropout: float = 0.0
    norm: str = "batch"
    coordconv: bool = False
    input_upsample: int = 1
    output_stride: int | None = None
    leaky: bool = False


@dataclass(frozen=True)
class Embedding:
    """A network that turns a picture into a vector, or a pair of pictures into a score.

    Attributes:
        backbone: A timm name, or ``siamese`` for the branch of the whale kernel.
        weights: As in ``Network``.
        pooling: avg, max, concat, gem, attention, channel, striped, multilayer, gapnet or layout.
        dim: Length of the embedding.
        neck: Layers between pooling and embedding: none, bn, fc_bn, dropout_fc_bn.
        dropout: Of the neck.
        head: arcface, cosface, sphereface, combined, subcenter, softmax, bce_hard, siamese or
            none (losses on the embedding alone); for labels ``linear``.
        head_start: ``logistic``: a linear head begins as the logistic regression on the vectors of
            the network before training (labels, with neck none); or random.
        scale: Of the cosine (s).
        margin: Additive margin (m); () of three for the combined form m1, m2, m3.
        dynamic_margin: (a, b, c): margin of a class of n pictures is a + b * n ** -c; or None.
        subcenters: Centres per class for ``subcenter``.
        flip_labels: Mirrored pictures are other identities (label + N).
        neutral_twin: The mirrored twin's logit takes no part in the softmax.
        stem_stride: As in ``Network``.
        coordconv: As in ``Network``.
        project: ``lda``: a linear map, fitted on each fold's training photos, that shrinks what
            differs between photos of one individual; or none.
        jitter: Random views by the member's augmentation, whose mean with the plain view stands
            for a photo; the projection learns from them what not to look at.
    """

    backbone: str = "efficientnet_lite0"
    weights: str | None = "auto"
    pooling: str = "gem"
    dim: int = 512
    neck: str = "fc_bn"
    dropout: float = 0.0
    head: str = "arcface"
    head_start: str = "random"
    scale: float = 30.0
    margin: float | tuple[float, ...] = 0.5
    dynamic_margin: tuple[float, float, float] | None = None
    subcenters: int = 1
    flip_labels: bool = False
    neutral_twin: bool = False
    stem_stride: int | None = None
    coordconv: bool = False
    project: str = "none"
    jitter: int = 0


@dataclass(frozen=True)
class Augment:
    """Random changes of training pictures. Zero or an empty range switches a kind off.

    Geometry is composed into one sampling grid, colour into one table; ``*_p`` is a probability,
    the other number the largest change.

    Attributes:
        hflip: Probability of a left-right flip.
        vflip: Probability of an up-down flip.
        rot90: Probability of a random quarter turn.
        rotate: Degrees, drawn from [-rotate, rotate].
        rotate_p: Its probability.
        shift: Share of the side, each axis.
        scale: Range of the zoom; (1, 1) is none. 2 doubles objects.
        aspect: Independent change of the width's zoom: U(1 - aspect, 1 + aspect).
        shear: Tangent of the horizontal shear.
        affine_p: Probability of shift, zoom, aspect and shear together.
        elastic: Amplitude in pixels of a smooth random field.
        elastic_sigma: Smoothness of that field in pixels.
        elastic_p: Its probability.
        perspective: Share of the side by which corners move inward.
        perspective_p: Its probability.
        grid: Grid distortion, share of a cell.
        grid_p: Its probability.
        barrel: Barrel and pincushion coefficient.
        barrel_p: Its probability.
        piecewise: Piecewise affine: standard deviation, as a share of the side, by which the
            4 x 4 nodes of a mesh of triangles move.
        piecewise_p: Its probability.
        crop: Largest share cut from each side before resizing back.
        crop_p: Its probability.
        border: reflect, edge or zero, for what the warp brings in.
        brightness: Additive, share of the full range.
        contrast: Multiplicative around the mean.
        gamma: Exponent drawn from [1 / (1 + gamma), 1 + gamma].
        hue: Share of the circle.
        saturation: Multiplicative.
        channel_shift: Additive per channel, share of the full range.
        colour_p: Probability of each colour kind.
        invert: Probability of 1 - x.
        grey: Probability of a grey picture.
        channel_shuffle: Probability of permuted channels.
        noise: Standard deviation of Gaussian noise, share of the full range.
        noise_p: Its probability.
        blur: Largest sigma of Gaussian blur in pixels.
        blur_p: Its probability.
        motion_blur: Longest path in pixels.
        motion_blur_p: Its probability.
        low_resolution: Smallest factor of down- and upsampling; 1 is off.
        low_resolution_p: Its probability.
        cutout: Side of the erased square, share of the side.
        cutout_p: Its probability.
        cutout_keep: Skip an erasure that would hide more than this share of the foreground.
        clahe_p: Probability of contrast-limited adaptive histogram equalisation.
        policy: A fixed policy by name: none, randaugment, autoaugment.
        valid: Geometry that is physically possible: any of hflip, vflip, rot90, rotate. A kind
            that is on but not listed is reported and not applied.
        warmup: Share of the epochs before any but flips is applied (none until then).
    """

    hflip: float = 0.0
    vflip: float = 0.0
    rot90: float = 0.0
    rotate: float = 0.0
    rotate_p: float = 1.0
    shift: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    aspect: float = 0.0
    shear: float = 0.0
    affine_p: float = 1.0
    elastic: float = 0.0
    elastic_sigma: float = 12.0
    elastic_p: float = 0.0
    perspective: float = 0.0
    perspective_p: float = 0.0
    grid: float = 0.0
    grid_p: float = 0.0
    barrel: float = 0.0
    barrel_p: float = 0.0
    piecewise: float = 0.0
    piecewise_p: float = 0.0
    crop: float = 0.0
    crop_p: float = 0.0
    border: str = "reflect"
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    hue: float = 0.0
    saturation: float = 0.0
    channel_shift: float = 0.0
    colour_p: float = 0.5
    invert: float = 0.0
    grey: float = 0.0
    channel_shuffle: float = 0.0
    noise: float = 0.0
    noise_p: float = 0.0
    blur: float = 0.0
    blur_p: float = 0.0
    motion_blur: float = 0.0
    motion_blur_p: float = 0.0
    low_resolution: float = 1.0
    low_resolution_p: float = 0.0
    cutout: float = 0.0
    cutout_p: float = 0.0
    cutout_keep: float = 0.5
    clahe_p: float = 0.0
    policy: str = "none"
    valid: tuple[str, ...] = ("hflip", "vflip", "rot90", "rotate")
    warmup: float = 0.0


@dataclass(frozen=True)
class Optimizer:
    """An optimiser and its numbers.

    Attributes:
        name: adamw, adam, sgd, rmsprop.
        lr: Base learning rate.
        weight_decay: Decoupled for adamw, L2 for the others.
        momentum: SGD and RMSprop.
        nesterov: SGD.
        betas: Adam.
        encoder_lr: Factor on the learning rate of the pretrained part.
        clip: Largest gradient norm; 0 is off.
        find_lr: Sweep the rate on the survey before training (masks only) and take what is found
            instead of ``lr``; later stages that ask for it change by the same factor as the
            member's first. The run's own recipe holds the numbers.
    """

    name: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-2
    momentum: float = 0.9
    nesterov: bool = True
    betas: tuple[float, float] = (0.9, 0.999)
    encoder_lr: float = 1.0
    clip: float = 0.0
    find_lr: bool = False


@dataclass(frozen=True)
class Schedule:
    """How the learning rate moves through a stage.

    Attributes:
        name: constant, cosine, cosine_restarts, triangular, triangular2, one_cycle, noam, poly,
            step or plateau.
        warmup: Share of the stage with a linear rise from zero.
        floor: Smallest factor on the base rate (cosine, triangular and plateau).
        cycles: Restarts or triangles within the stage.
        power: Of ``poly``.
        peak: Factor on the base rate at the top of a triangle.
        warmup_epochs: Of ``noam``: the epoch of the peak.
        factor: Of ``step`` and ``plateau``.
        patience: Of ``plateau``, in epochs.
        step_epochs: Of ``step``: epochs at which the factor is applied.
        reset_optimizer: A restart also forgets the optimiser's moments.
    """

    name: str = "cosine"
    warmup: float = 0.05
    floor: float = 0.01
    cycles: int = 1
    power: float = 0.9
    peak: float = 1.0
    warmup_epochs: int = 10
    factor: float = 0.5
    patience: int = 5
    step_epochs: tuple[int, ...] = ()
    reset_optimizer: bool = False


@dataclass(frozen=True)
class Stage:
    """One stretch of training with fixed ingredients; stages follow one another on one model.

    Attributes:
        name: Short, unique within the member.
        epochs: Passes over the data, or blocks of ``steps``.
        steps: Optimiser steps per epoch; None is one pass over the training pictures.
        batch: Pictures per step on one device.
        accumulate: Steps whose gradients are added up before one update.
        loss: Sum of named losses, e.g. ``0.1 * bce + 0.9 * lovasz``; names of ``losses.LOSSES``.
        loss_end: Loss at the end of the stage if it changes, else None.
        loss_change: linear (weights move) or switch (at half of the stage).
        aux: Extra heads: (output, loss expression) pairs, e.g. ``("empty", "0.05 * bce")``.
        optimizer: The optimiser.
        schedule: The learning rate's course.
        sampler: uniform, foreground, object, class_aware, frequency, coverage, identity,
            oversample;
            weighted (masks: by adversarial validation, the likeness to unlabelled pictures); or
            hard (masks: by the loss of the model as each epoch begins, for a second round).
        sampler_share: Share of draws that follow the sampler; the rest is uniform.
        per_identity: Pictures per identity in a batch (``identity``), or the least number of
            draws per epoch (``oversample``).
        curriculum: none, easy_first or large_first.
        repeat_worst: Repeat the worst of this many batches; 0 is off.
        freeze: none, encoder, or all_but_head.
        data: train, pseudo (pseudo-labelled pictures alone), mixed (both in every batch), or
            teacher (labelled pictures, and agreement with a mean teacher on unlabelled ones).
        round: The round of pseudo-labels, from 1, after which this stage is trained. None: before
            all rounds if ``data`` is train or teacher, else after every round.
        pseudo_share: Share of a mixed batch that is pseudo-labelled, or of a teacher's batch that
            is unlabelled.
        start: previous, best (of the stage before) or scratch.
        keep: last, best, cycle_end, cycle_best, best_k, or best_each (the best by every metric
            of the validation, and the last).
        keep_k: How many, for best_k.
        keep_decay: Weight of the next worse snapshot relative to the better (best_k).
        drop_first: Snapshots of this many first cycles are not used.
        weight: Share of this stage's snapshots in the member's prediction; None: 1 for the last
            stage, 0 for those before.
        average: none, ema or swa (weights, with batch norm refreshed on training pictures).
        ema: Decay of the moving average.
        patience: Epochs without gain before the stage ends; 0 is off.
        precision: auto, fp32 or bf16.
        augment: Augmentation of this stage, or None for the member's.
        augment_rare: An image is augmented with the chance (n0 / n) ** augment_rare, n being the
            images with its rarest label and n0 those with the rarest of all; 0 augments all
            (labels only).
        mixup: Parameter of the Beta distribution by which two images and their labels are mixed;
            0 is off (labels only).
        size_hw: Input size of this stage, or None for the member's (progressive resolution).
        loss_on: crop (the original picture's area) or padded.
        mining: pairs of a Siamese head: none, lap, lap_blocks, random.
        mining_noise: Noise amplitude on the scores, from the first to the last epoch.
        mining_reuse: Epochs drawn from one score matrix.
        adversarial: Of a Siamese head: how far pictures are moved against the network, in
            standard deviations of the input; the loss is the mean of both. 0 is off.
    """

    name: str = "main"
    epochs: int = 20
    steps: int | None = None
    batch: int = 16
    accumulate: int = 1
    loss: str = "bce + dice"
    loss_end: str | None = None
    loss_change: str = "linear"
    aux: tuple[tuple[str, str], ...] = ()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    sampler: str = "uniform"
    sampler_share: float = 1.0
    per_identity: int = 4
    curriculum: str = "none"
    repeat_worst: int = 0
    freeze: str = "none"
    data: str = "train"
    round: int | None = None
    pseudo_share: float = 0.5
    start: str = "previous"
    keep: str = "last"
    keep_k: int = 1
    keep_decay: float = 0.8
    drop_first: int = 0
    weight: float | None = None
    average: str = "none"
    ema: float = 0.99
    patience: int = 0
    precision: str = "auto"
    augment: Augment | None = None
    augment_rare: float = 0.0
    mixup: float = 0.0
    size_hw: tuple[int, int] | None = None
    loss_on: str = "crop"
    mining: str = "none"
    mining_noise: tuple[float, float] = (0.0, 0.0)
    mining_reuse: int = 1
    adversarial: float = 0.0


@dataclass(frozen=True)
class Member:
    """One model of the ensemble, trained once per fold.

    Attributes:
        name: Unique within the recipe.
        network: A dense network, or an embedding for the question "which one".
        geometry: Its input.
        augment: Its augmentation.
        stages: Its stages, in order.
        weight: Its weight in the blend; 0 for a model that only teaches others (pseudo-labels).
    """

    name: str = "main"
    network: Network | Embedding = Network()
    geometry: Geometry = Geometry()
    augment: Augment = Augment()
    stages: tuple[Stage, ...] = (Stage(),)
    weight: float = 1.0


@dataclass(frozen=True)
class Folds:
    """How training pictures are divided.

    Attributes:
        count: Number of folds (K).
        use: How many of them are trained; None is all. Untrained folds have no out-of-fold
            predictions.
        stratify: Any of coverage, class, depth, count, identity, kind.
        group: Never split a ``group`` of the survey.
        seed: Of the shuffle.
    """

    count: int = 5
    use: int | None = None
    stratify: tuple[str, ...] = ("coverage",)
    group: bool = True
    seed: int = 0


@dataclass(frozen=True)
class PseudoRound:
    """One round of pseudo-labels on unlabelled or test pictures.

    Beside the gate, two rules hold in every round: empty labels are thinned until they are about as
    rare as empty masks, and a round with hardly any label that holds an object is left out.

    Attributes:
        confidence: Least share of confident pixels of a picture.
        low: A pixel is confidently background below this probability.
        high: And confidently foreground above this one.
        balance: Draw evenly over coverage bins.
        fold_wise: Teachers of a fold never saw its validation pictures (nothing leaks).
        drop_flat: Leave out pictures of one grey value.
        empty_share: Share of empty pictures kept.
        least_px: Pictures with fewer foreground pixels, but not none, are left out.
        most_coverage: Pictures with a larger share of foreground are left out.
        teachers: Names of the members that label; () takes all that are trained by then.
    """

    confidence: float = 0.9
    low: float = 0.2
    high: float = 0.8
    balance: bool = False
    fold_wise: bool = True
    drop_flat: bool = True
    empty_share: float = 1.0
    least_px: int = 0
    most_coverage: float = 1.0
    teachers: tuple[str, ...] = ()


@dataclass(frozen=True)
class SegmentDecide:
    """From probabilities to masks; None means: tune out of fold.

    Attributes:
        metric: What the tuning maximises: salt_map, dice, iou, ap50, pq.
        threshold: On the probability.
        min_area: Objects smaller than this many pixels are removed.
        min_total: Masks with fewer pixels in all become empty.
        fill_holes: Holes smaller than this many pixels are filled.
        empty_threshold: Least probability of the empty-mask head for a mask to stay.
        gate: Name of the member whose empty-mask head decides alone, e.g. a network of its own
            with weight 0; empty takes the mean over the answering members that have the head.
        seed_threshold: Instances: level of the centre map above which a seed grows.
        seed_depth: Instances: how deep the pass between two seeds must be, see ``watershed``.
        crf: never, if_better or always.
        flat_rule: Pictures of one grey value are empty.
        per_fold: Tune a threshold for every fold apart, as the salt 4th place did: the maps of
            its models are levelled by it before folds are averaged on new pictures.
        neighbours: Pull binary masks of adjoining pictures together where these are tiles of a
            mosaic. Off: it is knowledge of the survey, not of the picture; the report warns.
        pictures: Out-of-fold pictures, evenly taken, that the tuning looks at.
    """

    metric: str = "salt_map"
    threshold: float | None = None
    min_area: int | None = None
    min_total: int | None = None
    fill_holes: int | None = None
    empty_threshold: float | None = None
    seed_threshold: float | None = None
    seed_depth: float | None = None
    crf: str = "never"
    flat_rule: bool = False
    per_fold: bool = False
    neighbours: bool = False
    gate: str = ""
    pictures: int = 64


@dataclass(frozen=True)
class CountDecide:
    """From maps to counts.

    Attributes:
        target: squares, gaussian, fidt, density, or joint (gaussian and density together); boxes
            for members whose ``decoder`` is a detector, trained with ``loss="detector"``.
        target_px: Side of the square, sigma of the Gaussian or side of a detector's smallest
            anchors, in network pixels; None picks it from the dots' spacing or the boxes.
        methods: Compared out of fold: sum, peaks, regressors.
        downscale: Maps are stored this much smaller.
        window: Side of a feature window on the stored map.
        stride: Step of the windows.
        blob_thresholds: Of the blob features.
        pixel_thresholds: Of the pixel-count features.
        regressors: extratrees, extratrees_small, xgboost, lightgbm.
        interval: Nominal coverage of the intervals.
        match_radius: Of point precision and recall, in pixels; None: half the usual spacing.
        test_scale: Resampling of new pictures: a number, ``check`` (warn), or ``auto`` (repair).
        reclassify: A second network re-labels blobs, its output becomes features.
        correct_confusion: Unmix class confusion when that pays out of fold.
        merge_classes: The network draws one map for all classes.
        oof_scale: Held-out pictures are resampled by a factor from this range, fixed by their
            name, so that regressors see the scale noise of new pictures; (1, 1) is off.
        block_px: Pictures are cut into blocks of about this side for folds and intervals, for
            surveys of very few pictures; None keeps them whole.
    """

    target: str = "gaussian"
    target_px: float | None = None
    methods: tuple[str, ...] = ("sum", "peaks", "regressors")
    downscale: int = 4
    window: int = 60
    stride: int = 30
    blob_thresholds: tuple[float, ...] = (0.04, 0.08)
    pixel_thresholds: tuple[float, ...] = (0.04, 0.08, 0.24)
    regressors: tuple[str, ...] = ("extratrees", "extratrees_small", "xgboost")
    interval: float = 0.9
    match_radius: float | None = None
    test_scale: float | str = "check"
    reclassify: bool = False
    correct_confusion: bool = True
    merge_classes: bool = False
    oof_scale: tuple[float, float] = (1.0, 1.0)
    block_px: int | None = None


@dataclass(frozen=True)
class IdentifyDecide:
    """From scores to identities.

    Attributes:
        sources: Of scores: embedding (every such member), siamese (every such member), geometry,
            lnbnn; or the name of a member.
        fuse: best, mean, power, logistic, svm, knn, lightgbm, xgboost.
        power: Alpha of the power mean.
        to_identity: max, mean, sum or prototype, from photos; or classes: the probabilities of the
            network's own classes, which know only the individuals that it was trained on.
        policies: Compared out of fold; names of ``identify`` policies.
        share_new: Prior share of unknown queries, or None: from the training table.
        false_new: Share of known individuals that may be called new; with it, or the next, the
            level of "new" holds these rates and ``policies`` are not asked. None asks them.
        false_match: Share of new individuals that may be given a name.
        known_first: ``geometry``: geometric proof overrides rank 1.
        top_k: Candidates reported.
        abstain: Least quality for an answer; None never abstains.
        shortlist: Candidates per query that geometry looks at; 0 is all.
        sides: ``separate``: a flank is trained as a class and compared with the same flank only,
            for patterns that differ between the two; or together.
        views: Boxes or scales averaged at test time.
        keypoints: Most keypoints per photo.
        keypoint_side: Longest side at which keypoints are looked for; 0 is the photo's own.
        keypoint_clahe: Clip limit of the equalisation before that; 0 is off.
        min_matches: Fewer matches than this prove nothing.
    """

    sources: tuple[str, ...] = ("embedding", "geometry")
    fuse: str = "best"
    power: float = 0.5
    to_identity: str = "max"
    policies: tuple[str, ...] = ("constant", "first_drop", "quantile", "temperature", "stack")
    share_new: float | None = None
    false_new: float | None = None
    false_match: float | None = None
    known_first: str | None = None
    top_k: int = 5
    abstain: float | None = None
    shortlist: int = 50
    sides: str = "together"
    views: tuple[float, ...] = (1.0,)
    keypoints: int = 300
    keypoint_side: int = 640
    keypoint_clahe: float = 0.0
    min_matches: int = 8


@dataclass(frozen=True)
class ClassifyDecide:
    """From probabilities to labels; what is tuned is tuned out of fold.

    Attributes:
        metric: What the choice of sources and the rule maximise: accuracy, balanced_accuracy,
            macro_f1, f2, weighted_kappa, log_loss or auroc; auto takes accuracy for one label,
            f2 for several and weighted_kappa for grades.
        sources: Compared out of fold, the first of equals answers: members (each alone), mean (of
            all members), logistic and lightgbm (stacks on their probabilities).
        calibrate: none, temperature, logistic or isotonic; best compares them out of fold.
        threshold: On the probability of each of several labels; None tunes one for all, or one
            for each label where that pays out of fold.
        cuts: Between grades, on the expected grade: tuned, or half (nearest grade).
    """

    metric: str = "auto"
    sources: tuple[str, ...] = ("members", "mean", "logistic", "lightgbm")
    calibrate: str = "best"
    threshold: float | None = None
    cuts: str = "tuned"


@dataclass(frozen=True)
class Phase:
    """One part of a run in the plan of its time.

    Attributes:
        name: timing, training, choosing, predicting, deciding, report, and others by question.
        seconds: Of wall clock that it is given.
        why: What it is for, and what its length rests on.
    """

    name: str = ""
    seconds: float = 0.0
    why: str = ""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a result, but the data and the device.

    Attributes:
        name: As the user calls it.
        question: segment, count, identify or classify.
        members: The models.
        folds: The division of the training pictures.
        views: Test-time views: identity, hflip, vflip, hvflip, rot90, rot180, rot270, transpose,
            and ``scale:0.8``.
        view_mean: arithmetic, geometric or power:ALPHA.
        drop_views: Leave out a view that does not pay out of fold.
        drop_stages: Where several stages of a member have a weight, compare each alone with the
            mean of all out of fold and keep what answers best (masks only).
        blend: mean, weighted (by out-of-fold score), rank, vote, weighted_vote, power:ALPHA,
            stack.
        pseudo: Rounds of pseudo-labels; after each one the stages that name it in ``round`` are
            trained.
        decide: From predictions to answers.
        seed: Of everything random.
        notes: Where the recipe comes from, one paragraph.
        why: What ``auto`` decided and why, one line each.
        plan: The parts of the run with their time, where a budget was given; a record of what was
            planned, which changes no result but how many images the decisions are tuned on.
    """

    name: str = "custom"
    question: str = "segment"
    members: tuple[Member, ...] = (Member(),)
    folds: Folds = Folds()
    views: tuple[str, ...] = ("identity",)
    view_mean: str = "arithmetic"
    drop_views: bool = True
    drop_stages: bool = False
    blend: str = "mean"
    pseudo: tuple[PseudoRound, ...] = ()
    decide: SegmentDecide | CountDecide | IdentifyDecide | ClassifyDecide = field(
        default_factory=SegmentDecide
    )
    seed: int = 0
    notes: str = ""
    why: tuple[str, ...] = ()
    plan: tuple[Phase, ...] = ()


_RECORDS: dict[str, type] = {
    record.__name__: record
    for record in (
        Augment,
        ClassifyDecide,
        CountDecide,
        Embedding,
        Folds,
        Geometry,
        IdentifyDecide,
        Member,
        Network,
        Optimizer,
        Phase,
        PseudoRound,
        Recipe,
        Schedule,
        SegmentDecide,
        Stage,
    )
}


def to_json(record: Any) -> Any:
    """Turn a recipe, or any part of it, into JSON values; records carry their type's name.

    Example:
        >>> to_json(Folds(count=3))["count"]
        3
    """
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        named = {f.name: to_json(getattr(record, f.name)) for f in dataclasses.fields(record)}
        return {"type": type(record).__name__, **named}
    if isinstance(record, (tuple, list)):
        return [to_json(item) for item in record]
    return record


def from_json(value: Any, *, where: str = "recipe") -> Any:
    """Read back what ``to_json`` wrote, checking every name and type; nothing is executed.

    Args:
        value: Decoded JSON of a record.
        where: The place, for error messages.

    Returns:
        The record, equal to the one that was written.

    Raises:
        TransectError: On an unknown record or field, or a value of another type.
    """
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise TransectError(f"{where} must be an object with a 'type'; got {_short(value)}.")
    if value["type"] not in _RECORDS:
        raise unknown_name(f"the type of {where}", value["type"], _RECORDS)
    record = _RECORDS[value["type"]]
    hints = typing.get_type_hints(record)
    fields = {}
    for name, item in value.items():
        if name == "type":
            continue
        if name not in hints:
            raise unknown_name(f"a field of {where}", name, hints)
        fields[name] = _typed(item, hints[name], f"{where}.{name}")
    return record(**fields)


def set_field(recipe: Recipe, path: str, value: str) -> Recipe:
    """Change one field, as ``--set path=value`` does.

    Args:
        recipe: The recipe; it is not changed.
        path: Field names joined by dots; members and stages by name or number, e.g.
            ``members.main.stages.0.optimizer.lr``. ``members.*`` changes all.
        value: JSON (``[1, 2]``, ``null``, ``0.5``, ``true``), or a bare word for a string.

    Returns:
        The changed recipe.

    Raises:
        TransectError: On a field that does not exist (the nearest is named) or a wrong type.

    Example:
        >>> set_field(Recipe(), "folds.count", "3").folds.count
        3
    """
    try:
        decoded = json.loads(value)
    except json.JSONDecodeError:
        decoded = value
    changed: Recipe = _replaced(recipe, path.split("."), decoded, "recipe")
    return changed


def _replaced(record: Any, path: Sequence[str], value: Any, where: str) -> Any:
    """Return a copy of ``record`` with the field at ``path`` replaced."""
    name, rest = path[0], path[1:]
    if isinstance(record, tuple):
        chosen = _chosen(record, name, where)
        return tuple(
            _replaced(item, rest, value, f"{where}[{i}]") if i in chosen and rest else item
            for i, item in enumerate(record)
        )
    hints = typing.get_type_hints(type(record)) if dataclasses.is_dataclass(record) else {}
    if name not in hints:
        raise unknown_name(f"a field of {where}", name, hints)
    here = f"{where}.{name}"
    if not rest:
        return dataclasses.replace(record, **{name: _typed(value, hints[name], here)})
    inner = getattr(record, name)
    if not (isinstance(inner, tuple) or dataclasses.is_dataclass(inner)):
        raise TransectError(f"{here} is {_short(inner)} and has no fields; set {here} itself.")
    return dataclasses.replace(record, **{name: _replaced(inner, rest, value, here)})


def _chosen(items: tuple[Any, ...], name: str, where: str) -> set[int]:
    """The positions that a number, a ``*`` or a record's name stands for."""
    names = [str(getattr(item, "name", i)) for i, item in enumerate(items)]
    if name == "*":
        return set(range(len(items)))
    if name.isdigit() and int(name) < len(items):
        return {int(name)}
    if name not in names:
        raise unknown_name(f"an entry of {where}", name, names)
    return {i for i, known in enumerate(names) if known == name}


def _typed(value: Any, hint: Any, where: str) -> Any:
    """Check a JSON value against a type hint and give it back in that type."""
    origin = get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        options = get_args(hint)
        if value is None and type(None) in options:
            return None
        for option in options:
            if option is type(None):
                continue
            try:
                return _typed(value, option, where)
            except TransectError as error:
                failure = error
        raise failure
    if origin is tuple:
        return _typed_tuple(value, get_args(hint), where)
    if dataclasses.is_dataclass(hint):
        if isinstance(value, hint if isinstance(hint, type) else type(hint)):
            return value
        record = from_json(value, where=where)
        if not isinstance(record, typing.cast(type, hint)):
            raise TransectError(
                f"{where} must be a {getattr(hint, '__name__', hint)}; got {type(record).__name__}."
            )
        return record
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint in (bool, str) and isinstance(value, hint):
        return value
    name = getattr(hint, "__name__", str(hint))
    raise TransectError(f"{where} must be of type {name}; got {_short(value)}.")


def _typed_tuple(value: Any, kinds: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    """Check a JSON list against ``tuple[X, ...]`` or ``tuple[X, Y]``."""
    if not isinstance(value, (list, tuple)):
        raise TransectError(f"{where} must be a list; got {_short(value)}.")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise TransectError(f"{where} must have {len(kinds)} entries; got {len(value)}.")
    return tuple(
        _typed(item, kind, f"{where}[{i}]")
        for i, (item, kind) in enumerate(zip(value, kinds, strict=True))
    )


def _short(value: Any) -> str:
    """Show a value in a message without filling the screen."""
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."
