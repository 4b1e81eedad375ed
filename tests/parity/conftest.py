"""The published implementation, an oracle for tests only: `pip install --no-deps kronos-model-arch==0.1.0`."""

import pytest
import torch

from kronos_ft.models.configuration_kronos import KronosTokenizerConfig
from kronos_ft.models.modeling_kronos import KronosTokenizer


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
