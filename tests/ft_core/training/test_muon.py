"""Muon for matrices of blocks beside AdamW: which parameters, the same steps as PyTorch's optimizers, one state."""

import copy

import pytest
import torch
from torch import nn
from transformers import MT5Config, MT5ForConditionalGeneration, TrainingArguments

from ft_core.training.muon import block_matrices, build_muon
from ft_core.training.one_cycle import OneCycle, build_one_cycle


class Small(nn.Module):
    """Two blocks with biases and norms between an embedding and a head."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(5, 4)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 4)) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(4), nn.Linear(4, 5)

    def forward(self, ids):
        found = self.embedding(ids)
        for block in self.blocks:
            found = found + block(found)
        return self.head(self.norm(found))


@pytest.fixture
def args(tmp_path):
    return TrainingArguments(
        output_dir=str(tmp_path), learning_rate=2e-3, weight_decay=0.1, adam_beta2=0.95, use_cpu=True, report_to=[]
    )


MATRICES = {f"blocks.{block}.{layer}.weight" for block in (0, 1) for layer in (0, 2)}


def step(model, *optimizers):
    ids = torch.tensor([[0, 1, 2], [3, 4, 0]])
    for optimizer in optimizers:
        optimizer.zero_grad()
    nn.functional.cross_entropy(model(ids).flatten(0, 1), ids.flatten()).backward()
    for optimizer in optimizers:
        optimizer.step()


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_only_the_matrices_of_blocks():
    assert block_matrices(Small()) == MATRICES


def test_the_matrices_of_the_models(tiny_model, tiny_predictor):
    for model in (tiny_model, tiny_predictor):
        names = block_matrices(model)
        assert names
        assert all(parameter.ndim == 2 for name, parameter in model.named_parameters() if name in names)
        assert not any("embed" in name or "head" in name or "norm" in name for name in names)
    config = MT5Config(vocab_size=32, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_decoder_layers=1, num_heads=2)
    names = block_matrices(MT5ForConditionalGeneration(config))
    assert "encoder.block.0.layer.0.SelfAttention.q.weight" in names
    assert "decoder.block.0.layer.2.DenseReluDense.wo.weight" in names
    assert not any("shared" in name or "lm_head" in name or "relative" in name for name in names)


def test_steps_are_those_of_pytorchs_optimizers(args):
    model = Small()
    other = copy.deepcopy(model)
    decayed = [name for name, one in model.named_parameters() if one.ndim > 1]
    ours = build_muon(model, decayed, args, learning_rate=5e-3)
    named = dict(other.named_parameters())
    muon = torch.optim.Muon(
        [named[name] for name in named if name in MATRICES],
        lr=5e-3,
        weight_decay=0.1,
        adjust_lr_fn="match_rms_adamw",
    )
    rest = [name for name in named if name not in MATRICES]
    adamw = torch.optim.AdamW(
        [
            {"params": [named[name] for name in rest if name in decayed], "weight_decay": 0.1},
            {"params": [named[name] for name in rest if name not in decayed], "weight_decay": 0.0},
        ],
        lr=2e-3,
        betas=(0.9, 0.95),
        eps=1e-8,
    )
    for _ in range(4):
        step(model, ours)
        step(other, muon, adamw)
    assert equal(model, other)


def test_a_saved_state_goes_on_with_the_same_steps(args, tmp_path):
    model = Small()
    optimizer = build_muon(model, [], args)
    step(model, optimizer)
    torch.save([model.state_dict(), optimizer.state_dict()], tmp_path / "state.pt")
    other = Small()
    resumed = build_muon(other, [], args)
    weights, state = torch.load(tmp_path / "state.pt", weights_only=True)
    other.load_state_dict(weights)
    resumed.load_state_dict(state)
    for _ in range(3):
        step(model, optimizer)
        step(other, resumed)
    assert equal(model, other)


def test_a_schedule_moves_both_rates(args):
    model = Small()
    optimizer = build_muon(model, [], args, learning_rate=8e-3)
    schedule = build_one_cycle(optimizer, OneCycle(2e-3, 0.3, 10.0, 1e4), 10)
    seen = []
    for _ in range(9):
        seen.append([group["lr"] for group in optimizer.param_groups])
        before = copy.deepcopy(model)
        step(model, optimizer)
        assert not equal(model, before)
        schedule.step()
    assert max(rates[0] for rates in seen) == pytest.approx(2e-3)
    assert all(rates[-1] == pytest.approx(4 * rates[0]) for rates in seen)


def test_nothing_for_muon_to_train(args):
    model = Small().requires_grad_(False)
    model.head.requires_grad_(True)
    with pytest.raises(ValueError, match=r"optim=muon trains the weight matrices .* none is trainable here"):
        build_muon(model, [], args)
