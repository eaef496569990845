"""The walks of ``docs/architecture.md``, carried out in a copy: so many files, and it works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


class Copy:
    """A copy of the repository's source in which files are added and changed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.touched: set[str] = set()
        shutil.copytree(ROOT / "src" / "transect", root / "src" / "transect")

    def add(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        assert not file.exists()
        file.write_text(text)
        self.touched.add(path)

    def change(self, path: str, old: str, new: str) -> None:
        file = self.root / path
        text = file.read_text()
        assert text.count(old) == 1, f"{path} has {old!r} {text.count(old)} times"
        file.write_text(text.replace(old, new))
        self.touched.add(path)

    def run(self, code: str) -> str:
        where = {**os.environ, "PYTHONPATH": f"{self.root / 'src'}{os.pathsep}{self.root}"}
        done = subprocess.run(
            [sys.executable, "-c", code], env=where, cwd=self.root, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def copy(tmp_path):
    return Copy(tmp_path)


def promised(walk: str) -> int:
    """Files of the package that ``docs/architecture.md`` says a walk touches."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    row = re.search(rf"^\| {walk} \| (.+?) \|", text, re.M)
    assert row, f"no walk for {walk}"
    return len(re.findall(r"`[^`]+`", row[1]))


LOSS = '''"""The mean distance, as an example."""

from torch import Tensor


def distance(logits: Tensor, target: Tensor, *, valid: Tensor | None = None) -> Tensor:
    """Mean |p - t|."""
    gap = (logits.sigmoid() - target).abs()
    return gap.mean() if valid is None else (gap * valid).sum() / valid.sum().clamp(min=1)
'''

DECODER = '''"""One convolution on the finest level, as an example."""

from torch import nn

from transect.models.decoder import Decoder


class Plain(Decoder):
    def __init__(self, channels, strides, network):
        super().__init__()
        self.channels = (8,)
        self.body = nn.Conv2d(channels[0], 8, 3, padding=1)

    def forward(self, levels):
        return [self.body(levels[0])]
'''

METRIC = '''"""Largest difference of two sets of counts, as an example."""

import numpy as np


def worst_error(predicted, truth):
    """The largest absolute difference."""
    return float(np.abs(np.asarray(predicted) - np.asarray(truth)).max())
'''

RECIPE = '''"""A recipe, as an example."""

from transect.recipe import Folds, Recipe

recipe = Recipe(name="my-salt", question="segment", folds=Folds(count=2))
quick = recipe
'''

POLICY_CODE = """
import numpy as np
from transect.openset.policies import fit_policy
from transect.openset.evidence import evidence_from_scores
evidence = evidence_from_scores(np.array([[3.0, 1.0], [1.0, 0.5], [2.0, 0.1]]))
print(type(fit_policy("never", evidence, np.array([0, -1, 0]))).__name__)
"""


@pytest.mark.slow
def test_a_loss(copy):
    copy.add("src/transect/losses/distance.py", LOSS)
    path = "src/transect/losses/__init__.py"
    copy.change(
        path, "from transect.losses.expression",
        "from transect.losses.distance import distance\nfrom transect.losses.expression",
    )  # fmt: skip
    copy.change(path, "        density_sum,\n        dice,", "        density_sum, distance, dice,")
    said = copy.run(
        "import torch\nfrom transect.losses import parse_loss\n"
        "loss = parse_loss('0.5 * distance + bce')\n"
        "print(float(loss(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2))))"
    )
    assert float(said) == pytest.approx(0.25 + 0.6931, abs=1e-3)
    assert len(copy.touched) == promised("a loss")


@pytest.mark.slow
def test_a_decoder(copy):
    copy.add("src/transect/models/plain.py", DECODER)
    path = "src/transect/models/decoders.py"
    copy.change(path, "from transect.models.decoder import Decoder",
                "from transect.models.decoder import Decoder\n"
                "from transect.models.plain import Plain")  # fmt: skip
    copy.change(path, '    "unet": _unet,\n', '    "unet": _unet,\n    "plain": Plain,\n')
    said = copy.run(
        "import torch\nfrom transect.models import build\nfrom transect.recipe import Network\n"
        "from transect.segment.task import SegmentTask\n"
        "net = build(Network(encoder='plain', weights=None, decoder='plain'), in_channels=1,"
        " outputs=2)\n"
        "print(tuple(net(torch.zeros(1, 1, 33, 40))['logits'].shape),"
        " 'plain' in SegmentTask.choices['Network.decoder'])"
    )
    assert said.strip() == "(1, 2, 33, 40) True"
    assert len(copy.touched) == promised("a decoder")


@pytest.mark.slow
def test_a_metric(copy):
    copy.add("src/transect/metrics/worst.py", METRIC)
    path = "src/transect/metrics/__init__.py"
    copy.change(path, "segment, spread\n\n", "segment, spread, worst\n\n")
    copy.change(
        path, "METRICS: dict[str, Metric] = {\n",
        'METRICS: dict[str, Metric] = {\n    "worst": Metric(worst.worst_error, False, "largest"),'
        "\n",
    )  # fmt: skip
    said = copy.run(
        "from transect.metrics import METRICS, higher_is_better\n"
        "print(METRICS['worst'].function([1, 5], [2, 2]), higher_is_better('worst'))"
    )
    assert said.strip() == "3.0 False"
    assert len(copy.touched) == promised("a metric")


@pytest.mark.slow
def test_a_recipe(copy):
    copy.add("src/transect/recipes/my_salt.py", RECIPE)
    said = copy.run(
        "from transect import recipes\nprint('my-salt' in recipes.names(),"
        " recipes.load('my-salt').folds.count)"
    )
    assert said.strip() == "True 2"
    assert len(copy.touched) == promised("a recipe")


@pytest.mark.slow
def test_a_policy(copy):
    path = "src/transect/openset/policies.py"
    text = (copy.root / path).read_text()
    constant = re.search(r"@dataclass\(frozen=True\)\nclass Constant.*?(?=\n@dataclass|\nclass )",
                         text, re.S)  # fmt: skip
    assert constant
    mine = re.sub(r"\bConstant\b", "Never", constant[0]).replace('"constant"', '"never"')
    copy.change(path, constant[0], constant[0] + "\n" + mine)
    copy.change(path, '    "constant": Constant.fit,\n',
                '    "constant": Constant.fit,\n    "never": Never.fit,\n')  # fmt: skip
    assert copy.run(POLICY_CODE).strip() == "Never"
    assert len(copy.touched) == promised("a policy")
