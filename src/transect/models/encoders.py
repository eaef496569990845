"""Encoders: any timm network by name with stem surgery, and four of our own from scratch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional

from transect.errors import TransectError, unknown_name
from transect.models.blocks import (
    GATES,
    ConvBlock,
    activation,
    append_coordinates,
    tolerate_single_values,
)
from transect.models.weights import (
    LITE0,
    LITE2,
    WHEEL_EPS,
    WHEELS,
    encoder_weights,
    fold_input_weights,
    load_encoder_weights,
    quiet_timm,
)
from transect.recipe import Embedding, Network

__all__ = ["ENCODERS_SCRATCH", "Encoder", "build_encoder"]

_LEAST_VALID = 96  # inception_v3 needs 75 pixels; the next multiple of 32
_ADDING = (
    "dla",
    "hrnet",
)  # they add enlarged levels to finer ones, which must have double the size


class Encoder(nn.Module):
    """A pyramid of features, finest first.

    Attributes:
        channels: Width of each level.
        strides: Size of each level relative to the input; neighbours may be equal.
        source: Where the weights came from: scratch, wheel, hub or file.
        coordinates: Whether x and y are appended to the input.
        gates: Gates applied to the levels on their way out; empty if they are inside the body.
        least: Shortest side of an input, in pixels.
        multiple: Sides of an input must be divisible by it.
    """

    def __init__(
        self,
        body: nn.Module,
        channels: Sequence[int],
        strides: Sequence[int],
        *,
        source: str = "scratch",
        coordinates: bool = False,
        least: int = 1,
        multiple: int = 1,
    ) -> None:
        super().__init__()
        self.body = body
        self.least, self.multiple = least, multiple
        self.channels = tuple(channels)
        self.strides = tuple(strides)
        self.source = source
        self.coordinates = coordinates
        self.gates = nn.ModuleList()

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, C, H, W) to one tensor per level, finest first."""
        if self.coordinates:
            x = append_coordinates(x)
        levels: list[Tensor] = list(self.body(x))
        for i, (level, width) in enumerate(zip(levels, self.channels, strict=True)):
            if level.shape[1] != width:  # timm's windowed transformers keep channels last
                levels[i] = level.permute(0, 3, 1, 2)
        if len(self.gates):
            levels = [gate(level) for gate, level in zip(self.gates, levels, strict=True)]
        return levels


def build_encoder(
    network: Network | Embedding, *, in_channels: int, pretrained_allowed: bool = True
) -> Encoder:
    """Build the encoder that a recipe names.

    Args:
        network: The recipe's network; stem, attention and coordinate fields apply.
        in_channels: Channels of the input, coordinates not counted.
        pretrained_allowed: False starts from scratch whatever the recipe says (a trained state
            is going to be loaded).

    Returns:
        The encoder.

    Raises:
        TransectError: On an unknown name or impossible surgery.
    """
    name = network.encoder if isinstance(network, Network) else network.backbone
    if isinstance(network, Network) and name in ENCODERS_SCRATCH:
        return _scratch(network, in_channels)
    return _timm(network, name, in_channels, pretrained_allowed)


def _scratch(network: Network, in_channels: int) -> Encoder:
    """One of ``ENCODERS_SCRATCH``; weights and stem fields do not concern it."""
    if network.weights not in {None, "auto"}:
        raise TransectError(
            f"encoder {network.encoder} is ours and has no pretrained weights; got weights="
            f"{network.weights!r}. Set weights to None or auto."
        )
    if network.output_stride is not None:
        raise _not_dilated(network.encoder, network.output_stride)
    build = ENCODERS_SCRATCH[network.encoder]
    inputs = in_channels + 2 * network.coordconv
    body = build(inputs, network.width, network.levels, norm=network.norm, leaky=network.leaky)
    encoder = Encoder(body, body.channels, body.strides, coordinates=network.coordconv)
    if network.coordconv:
        _zero_last_inputs(_first_convolution(body, inputs), 2)
    if network.encoder_attention is not None:
        gate = _gate(network.encoder_attention)
        for index, channels in enumerate(body.channels):
            body.stages[index] = _Gated(body.stages[index], gate(channels))
    return encoder


def _timm(
    network: Network | Embedding, name: str, in_channels: int, pretrained_allowed: bool
) -> Encoder:
    """A timm network cut into levels, operated on as the recipe asks."""
    output_stride = network.output_stride if isinstance(network, Network) else None
    body = _created(name, output_stride)
    info: Any = body.feature_info
    channels, strides = list(info.channels()), list(info.reduction())
    modules = list(info.module_name())
    source = "scratch"
    if pretrained_allowed:
        tensors, source = encoder_weights(name, network.weights)
        if tensors is not None:
            load_encoder_weights(body, tensors, what=name)
        if source == "wheel":
            for part in body.modules():
                if isinstance(part, nn.BatchNorm2d):
                    part.eps = WHEEL_EPS
    elif name in WHEELS and network.weights in {"auto", "imagenet"}:
        # The same network must come out whether or not its weights are about to be replaced.
        for part in body.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.eps = WHEEL_EPS
    tolerate_single_values(body)
    extra = 2 if network.coordconv else 0
    _adapt_input(body, in_channels, extra)
    operated = _stem(network, body, name) or output_stride is not None
    least = _pad_valid(body, in_channels + extra)
    if operated:
        strides = _probe(body, in_channels + extra)
    encoder = Encoder(
        body,
        channels,
        strides,
        source=source,
        coordinates=network.coordconv,
        least=least,
        multiple=strides[-1] if name.startswith(_ADDING) else 1,
    )
    if isinstance(network, Network) and network.encoder_attention is not None:
        gate = _gate(network.encoder_attention)
        if not _gate_inside(body, modules, channels, gate):
            encoder.gates.extend(gate(c) for c in channels)
    return encoder


def _created(name: str, output_stride: int | None) -> Any:
    """The feature extractor of timm, dilated if so asked."""
    import timm

    options: dict[str, Any] = {} if output_stride is None else {"output_stride": output_stride}
    with quiet_timm():
        if not timm.is_model(name):
            known = [*ENCODERS_SCRATCH, *_familiar()]
            near = timm.list_models(f"*{name}*")[:3]
            raise unknown_name("encoder", name, [*known, *near])
        try:
            body: Any = timm.create_model(name, pretrained=False, features_only=True, **options)
        except (RuntimeError, AttributeError, AssertionError, TypeError) as error:
            if options:
                raise _not_dilated(name, output_stride) from error
            raise TransectError(
                f"encoder {name} gives no pyramid of features ({error}). Choose another, e.g. "
                f"{LITE0} or resnet34."
            ) from error
    if output_stride is not None and max(body.feature_info.reduction()) > output_stride:
        raise _not_dilated(name, output_stride)
    return body


def _not_dilated(name: str, output_stride: int | None) -> TransectError:
    """What is said where an encoder's deep levels cannot be kept fine."""
    return TransectError(
        f"encoder {name} cannot be dilated to network.output_stride={output_stride}. Give 8 or 16 "
        f"with a network that can, e.g. resnet34 or {LITE0}, or leave it out."
    )


def _familiar() -> tuple[str, ...]:
    """Names that a did-you-mean should know without listing a thousand networks."""
    return (
        LITE0, LITE2, "resnet18", "resnet34", "resnet50", "resnext50_32x4d", "seresnext50_32x4d",
        "legacy_senet154", "densenet121", "dpn92", "convnext_atto", "convnext_tiny", "vgg16_bn",
        "efficientnet_b0", "efficientnet_b4", "tf_efficientnetv2_s", "inception_v4", "xception41",
    )  # fmt: skip


def _gate(name: str) -> Callable[[int], nn.Module]:
    """From channels to the named gate, at an encoder's reduction (salt 1st place, phalanx)."""
    if name not in GATES:
        raise unknown_name("encoder_attention", name, GATES)
    return partial(GATES[name], reduction=4)


def _first_convolution(body: nn.Module, inputs: int) -> nn.Conv2d:
    """The convolution that sees the picture: the first with that many inputs."""
    for part in body.modules():
        if isinstance(part, nn.Conv2d) and part.in_channels == inputs and part.groups == 1:
            return part
    raise TransectError(
        "this encoder has no first convolution to operate on. Choose a convolutional one, e.g. "
        f"{LITE0}."
    )


def _adapt_input(body: nn.Module, in_channels: int, extra: int) -> None:
    """Fold the RGB weights to ``in_channels`` and append ``extra`` zero-initialised inputs."""
    conv = _first_convolution(body, 3)
    weight = fold_input_weights(conv.weight.detach(), in_channels)
    if extra:
        weight = torch.cat([weight, weight.new_zeros(weight.shape[0], extra, *weight.shape[2:])], 1)
    conv.in_channels = in_channels + extra
    conv.weight = nn.Parameter(weight.clone())


def _zero_last_inputs(conv: nn.Conv2d, count: int) -> None:
    """Let the last inputs start without any effect."""
    with torch.no_grad():
        conv.weight[:, -count:] = 0


def _stem(network: Network | Embedding, body: nn.Module, name: str) -> bool:
    """Stride, kernel and pooling of the stem; True if anything was changed."""
    conv = _first_convolution(body, _current_inputs(body))
    operated = False
    if network.stem_stride is not None and conv.stride != (network.stem_stride,) * 2:
        conv.stride = (network.stem_stride, network.stem_stride)
        operated = True
    kernel = network.stem_kernel if isinstance(network, Network) else None
    if kernel is not None and conv.kernel_size != (kernel, kernel):
        # Salt 1st place, stage 3: a new 3x3 convolution under the pretrained norm.
        new = nn.Conv2d(
            conv.in_channels,
            conv.out_channels,
            kernel,
            stride=conv.stride,  # type: ignore[arg-type]
            padding=kernel // 2,
            bias=conv.bias is not None,
        )
        if network.coordconv:
            _zero_last_inputs(new, 2)
        _replace(body, conv, new)
        operated = True
    if isinstance(network, Network) and not network.stem_pool:
        pool = _stem_pool(body)
        if pool is None:
            raise TransectError(
                f"encoder {name} has no max-pooling after its stem. Leave stem_pool as it is, or "
                "set stem_stride to 1 for finer features."
            )
        _replace(body, pool, nn.Identity())
        operated = True
    return operated


def _current_inputs(body: nn.Module) -> int:
    """Inputs of the very first convolution."""
    return next(part.in_channels for part in body.modules() if isinstance(part, nn.Conv2d))


def _stem_pool(body: nn.Module) -> nn.Module | None:
    """The pooling between stem and first stage, by the names that timm gives it."""
    for path, part in body.named_modules():
        last = path.replace("_", ".").split(".")[-1]
        if isinstance(part, nn.MaxPool2d) and last in {"maxpool", "pool0", "pool"}:
            return part
    return None


def _replace(body: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put ``new`` where ``old`` is."""
    for parent in body.modules():
        for key, child in parent.named_children():
            if child is old:
                setattr(parent, key, new)
                return


def _probe(body: nn.Module, inputs: int) -> list[int]:
    """Measure the strides of an operated network on two blank pictures.

    What convolutions without padding cut off is the same on both, so the difference tells.
    """
    small, large = _levels(body, inputs, 128), _levels(body, inputs, 192)
    return [64 // (b - a) for a, b in zip(small, large, strict=True)]


def _levels(body: nn.Module, inputs: int, side: int) -> list[int]:
    """Widths of the levels of a blank picture; the network is left as it was."""
    was_training = body.training
    body.eval()
    with torch.no_grad():
        levels = body(torch.zeros(1, inputs, side, side))
    body.train(was_training)
    return [int(level.shape[-1]) for level in levels]


def _pad_valid(body: nn.Module, inputs: int) -> int:
    """Pad what has no padding, so that levels are the input divided by their stride.

    Inception, Xception and NASNet networks cut the border off in some convolutions: their levels
    shrink by other numbers than two and show the middle of the picture only. Padding keeps the
    weights and puts every level over the whole picture, as segmentation-models-pytorch does.
    Where a network pools outside its modules (inception_v3) it stays as it is, and decoders that
    need exact halves resample its levels.

    Returns:
        The shortest side that the network takes, in pixels.
    """
    valid = [part for part in body.modules() if _cuts_border(part)]
    if not valid:
        return 1
    for part in valid:
        part.padding = tuple(k // 2 for k in _pair_of(part.kernel_size))
    try:
        _levels(body, inputs, 64)
    except RuntimeError:
        for part in valid:
            part.padding = (0, 0)
    else:
        return 1
    return _LEAST_VALID


def _cuts_border(part: nn.Module) -> TypeGuard[nn.Conv2d | nn.MaxPool2d]:
    """Whether a layer's windows overlap and it has no padding of any kind."""
    if type(part) is nn.MaxPool2d:
        if part.ceil_mode:
            return False
    elif type(part) is not nn.Conv2d:
        return False  # subclasses pad by themselves
    if isinstance(part.padding, str) or max(_pair_of(part.padding)):
        return False
    kernel, stride = _pair_of(part.kernel_size), _pair_of(part.stride)
    return max(kernel) > 1 and all(k % 2 and k >= s for k, s in zip(kernel, stride, strict=True))


def _pair_of(value: int | tuple[int, ...]) -> tuple[int, ...]:
    """A size as torch's layers hold it, for both axes."""
    return value if isinstance(value, tuple) else (value, value)


class _Gated(nn.Module):
    """A stage followed by its gate, so that the next stage sees the gated features."""

    def __init__(self, stage: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.stage = stage
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        """Run the stage and gate its output."""
        gated: Tensor = self.gate(self.stage(x))
        return gated


def _gate_inside(
    body: nn.Module,
    modules: Sequence[str],
    channels: Sequence[int],
    gate: Callable[[int], nn.Module],
) -> bool:
    """Put a gate after every level's last module; False if the network cannot be opened."""
    import timm.models

    if isinstance(body, timm.models.FeatureHookNet):
        return False
    known = dict(body.named_modules())
    paths = [name if name in known else name.replace(".", "_") for name in modules]
    if any(path not in known for path in paths):
        return False
    for path, width in zip(paths, channels, strict=True):
        stage = known[path]
        if not any(True for _ in stage.parameters()):
            continue  # the activation after a stem: not a stage
        parent = known[path.rpartition(".")[0]]
        setattr(parent, path.rpartition(".")[2], _Gated(stage, gate(width)))
    return True


# --- from scratch -------------------------------------------------------------------------------


class _Pyramid(nn.Module):
    """Stages one after the other; every stage's output is a level."""

    def __init__(
        self, stages: Sequence[nn.Module], channels: Sequence[int], strides: Sequence[int]
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.channels = tuple(channels)
        self.strides = tuple(strides)

    def forward(self, x: Tensor) -> list[Tensor]:
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return levels


class _Residual(nn.Module):
    """Two 3x3 convolutions around a shortcut; average pooling before a 1x1 where sizes change."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: str, leaky: bool) -> None:
        super().__init__()
        self.first = ConvBlock(inputs, outputs, stride=stride, norm=norm, act=activation(leaky))
        self.second = ConvBlock(outputs, outputs, norm=norm)
        self.stride = stride
        self.shortcut = ConvBlock(inputs, outputs, 1, norm=norm) if inputs != outputs else None
        self.act = activation(leaky)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.first(x))
        if self.stride > 1:
            x = functional.avg_pool2d(x, self.stride, ceil_mode=True)
        if self.shortcut is not None:
            x = self.shortcut(x)
        return self.act(x + y)


class _Pool(nn.Module):
    """Max pooling that keeps a last odd row or column, and never shrinks to nothing."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return functional.max_pool2d(x, self.size, ceil_mode=True)


def _widths(width: int, levels: int, most: int) -> list[int]:
    """Doubling widths with a ceiling."""
    return [min(width * 2**level, most) for level in range(levels)]


def _pair(
    inputs: int, outputs: int, norm: str, leaky: bool, dilations: tuple[int, ...] = (1, 1)
) -> list[nn.Module]:
    """Convolutions of one level."""
    widths = [inputs] + [outputs] * len(dilations)
    return [
        ConvBlock(widths[i], outputs, dilation=d, norm=norm, act=activation(leaky))
        for i, d in enumerate(dilations)
    ]


def resenc(
    in_channels: int, width: int, levels: int, *, norm: str = "batch", leaky: bool = False
) -> _Pyramid:
    """Residual encoder after nnU-Net's ResEnc presets, thinner for small machines.

    Blocks per level 1, 3, 4, 6, 6, 6; widths double from ``width`` (32 in the presets, 16 by
    default here) to at most 512, nnU-Net's ceiling in 2-D.

    References:
        Isensee et al. 2024, "nnU-Net Revisited".
    """
    widths = _widths(width, levels, 512)
    blocks = (1, 3, 4, 6, 6, 6, 6, 6)
    stages: list[nn.Module] = []
    before = width
    for level, outputs in enumerate(widths):
        parts: list[nn.Module] = []
        if level == 0:
            parts.append(ConvBlock(in_channels, width, norm=norm, act=activation(leaky)))
        for block in range(blocks[level]):
            stride = 2 if level > 0 and block == 0 else 1
            parts.append(_Residual(before, outputs, stride, norm, leaky))
            before = outputs
        stages.append(nn.Sequential(*parts))
    return _Pyramid(stages, widths, [2**level for level in range(levels)])


def plain(
    in_channels: int, width: int, levels: int, *, norm: str = "batch", leaky: bool = False
) -> _Pyramid:
    """The encoder of the original U-Net: two 3x3 convolutions a level, max pooling between."""
    return _stacked(in_channels, _widths(width, levels, 512), [2] * levels, norm, leaky)


def dilated(
    in_channels: int, width: int, levels: int, *, norm: str = "batch", leaky: bool = False
) -> _Pyramid:
    """As ``plain``, with convolutions of dilation 1, 2 and 4 stacked in every level.

    References:
        The "dilated U-Net" of the salt talk, which gives no figures; 1, 2, 4 are our guess.
    """
    widths = _widths(width, levels, 512)
    return _stacked(in_channels, widths, [2] * levels, norm, leaky, dilations=(1, 2, 4))


def lion(
    in_channels: int, width: int, levels: int, *, norm: str = "batch", leaky: bool = False
) -> _Pyramid:
    """Encoder of the sea lion 2nd place: widths 32 to 512 and a pooling by 4 before the bottom.

    Args:
        in_channels: Of the input.
        width: 32 for the original.
        levels: 5 for the original.
        norm: batch for the original.
        leaky: False for the original.

    Returns:
        Strides 1, 2, 4, 8, 32.
    """
    pools = [2] * (levels - 1) + [4]
    return _stacked(in_channels, _widths(width, levels, 512), pools, norm, leaky)


def _stacked(
    in_channels: int,
    widths: Sequence[int],
    pools: Sequence[int],
    norm: str,
    leaky: bool,
    dilations: tuple[int, ...] = (1, 1),
) -> _Pyramid:
    """Levels of stacked convolutions; ``pools[i]`` shrinks before level i (the first does not)."""
    stages: list[nn.Module] = []
    strides: list[int] = []
    before = in_channels
    for level, outputs in enumerate(widths):
        parts: list[nn.Module] = [_Pool(pools[level])] if level else []
        parts += _pair(before, outputs, norm, leaky, dilations)
        strides.append(strides[-1] * pools[level] if level else 1)
        stages.append(nn.Sequential(*parts))
        before = outputs
    return _Pyramid(stages, widths, strides)


ENCODERS_SCRATCH: dict[str, Callable[..., _Pyramid]] = {
    "resenc": resenc,
    "plain": plain,
    "dilated": dilated,
    "lion": lion,
}
