"""The published implementation, an oracle for tests only: `pip install --no-deps kronos-model-arch==0.1.0`."""

import pytest
import torch

from kronos_ft.models.configuration_kronos import KronosConfig, KronosTokenizerConfig
from kronos_ft.models.modeling_kronos import Kronos, KronosTokenizer


@pytest.fixture(scope="session")
def published():
    return pytest.importorskip("model", reason="kronos-model-arch 0.1.0 is not installed (see CONTRIBUTING.md)")


@pytest.fixture(params=["base", "2k", "tiny"])
def pair(request, published):
    """The same weights in both implementations, in training mode."""
    config = KronosTokenizerConfig.from_size(request.param)
    torch.manual_seed(1)
    theirs = published.KronosTokenizer(**{key: getattr(config, key) for key in config.published_keys()})
    ours = KronosTokenizer(config)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return theirs.train(), ours.train()


@pytest.fixture
def candles():
    return torch.randn(3, 40, 6, generator=torch.Generator().manual_seed(5)).clamp(-5, 5)


@pytest.fixture(params=["mini", "small", "tiny"])
def predictors(request, published):
    """The same predictor in both implementations, without dropout, in training mode."""
    config = KronosConfig.from_size(request.param)
    for name in ("ffn_dropout_p", "attn_dropout_p", "resid_dropout_p", "token_dropout_p"):
        setattr(config, name, 0.0)
    torch.manual_seed(1)
    theirs = published.Kronos(**{key: getattr(config, key) for key in config.published_keys()})
    ours = Kronos(config)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return theirs.train(), ours.train()


@pytest.fixture
def tokens(predictors):
    """Tokens of 3 x 41 bars with their stamps."""
    config, generator = predictors[1].config, torch.Generator().manual_seed(5)
    s1, s2 = (torch.randint(2**bits, (3, 41), generator=generator) for bits in (config.s1_bits, config.s2_bits))
    ranges = ((0, 60), (0, 24), (0, 7), (1, 32), (1, 13))
    stamp = torch.stack([torch.randint(low, high, (3, 41), generator=generator) for low, high in ranges], dim=-1)
    return s1, s2, stamp
