import numpy as np
import pytest

from tests.matching.views import textured
from transect.errors import TransectError
from transect.matching.features import KeypointSpec, extract
from transect.matching.learned import load_learned


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(TransectError, match=r"no affnet\.safetensors"):
        load_learned(tmp_path)


@pytest.mark.slow
def test_networks_from_files_give_keypoints(tmp_path):
    import kornia.feature as features
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(
        features.LAFAffNetShapeEstimator(pretrained=False).state_dict(),
        tmp_path / "affnet.safetensors",
    )
    save_file(features.OriNet(pretrained=False).state_dict(), tmp_path / "orinet.safetensors")
    torch.save(
        {"state_dict": features.HardNet(pretrained=False).state_dict()}, tmp_path / "hardnet.pth"
    )
    learned = load_learned(tmp_path)
    spec = KeypointSpec(kind="affnet_hardnet", max_keypoints=40)
    found = extract(textured(0), spec, learned=learned)
    assert 10 < len(found) <= 40
    assert np.allclose(np.linalg.norm(found.descriptors, axis=1), 1, atol=1e-4)
    assert (found.points < [320, 200]).all()
    (tmp_path / "orinet.safetensors").write_bytes(b"no")
    with pytest.raises(TransectError, match="not a file of orinet weights"):
        load_learned(tmp_path)
