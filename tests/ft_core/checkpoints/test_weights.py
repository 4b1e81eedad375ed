"""Weights that are whole, and those that are not, told apart without loading them."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ft_core.checkpoints.weights import check_finite, defect_of_weights, holds_complete_model


def test_what_is_whole(tmp_path):
    assert not holds_complete_model(tmp_path / "none")
    assert defect_of_weights(tmp_path) == "it contains no *.safetensors file"
    (tmp_path / "training_args.bin").write_bytes(b"x")
    (tmp_path / "rng_state_0.pth").write_bytes(b"x")
    assert defect_of_weights(tmp_path) == "it contains no *.safetensors file"
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    assert "only pickled weights (pytorch_model.bin)" in defect_of_weights(tmp_path)
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(3, 4), "b": torch.ones(2)}, path, metadata={"format": "pt"})
    assert defect_of_weights(tmp_path) is None
    assert not holds_complete_model(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert holds_complete_model(tmp_path)
    whole = path.read_bytes()
    for content in (
        b"",
        whole[:5],
        whole[:40],
        whole[:-1],
        whole + b"x",
        b"\xff" * 8 + whole[8:],
        b"\x08" + b"\0" * 7 + b"not json",
    ):
        path.write_bytes(content)
        assert "model.safetensors is truncated or damaged" in defect_of_weights(tmp_path), content[:9]


class Tied(nn.Module):
    """Two names of one weight, a saved buffer, an integer buffer and one that is not saved."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(2, 2, bias=False) for _ in range(3))
        self.second.weight = self.first.weight
        self.register_buffer("scale", torch.ones(2))
        self.register_buffer("steps", torch.ones(2, dtype=torch.long))
        self.register_buffer("mask", torch.full((2,), -torch.inf), persistent=False)
        self.register_buffer("empty", torch.ones(0))


def test_finite_weights_pass():
    check_finite(Tied(), "x")
    check_finite(Tied().to(torch.bfloat16), "x")
    check_finite(Tied().to("meta"), "x")


@pytest.mark.fault(25)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_and_saved_buffers_that_are_not_finite_are_named_once(value):
    model = Tied()
    with torch.no_grad():
        model.first.weight[1, 0] = model.scale[1] = value
    with pytest.raises(ValueError, match=r"^folder has NaN or infinite numbers in 2 of 3 tensors \(") as error:
        check_finite(model, "folder")
    assert ("first.weight" in str(error.value)) + ("second.weight" in str(error.value)) == 1
    assert "scale" in str(error.value)


def test_only_the_first_names_are_shown():
    model = nn.Sequential(*(nn.Linear(1, 1) for _ in range(4))).requires_grad_(False)
    for parameter in model.parameters():
        parameter.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"in 8 of 8 tensors \(0.weight, 0.bias, 1.weight and 5 more\)"):
        check_finite(model, "folder")
