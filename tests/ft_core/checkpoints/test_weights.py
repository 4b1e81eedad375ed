"""Weights that are whole, and those that are not, told apart without loading them."""

import torch
from safetensors.torch import save_file

from ft_core.checkpoints.weights import defect_of_weights, holds_complete_model


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
