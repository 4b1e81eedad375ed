"""The quantile head: a cone at first, never crossing, and loaded as it was saved."""

import numpy as np
import pytest
import torch

from kronos_ft.models.configuration_kronos import KronosConfig
from kronos_ft.models.modeling_kronos import Kronos
from kronos_ft.models.modeling_quantiles import KronosForQuantiles, KronosQuantilesConfig, horizon_table

BODY = KronosConfig.from_size("tiny")


def head(body=None, **values):
    torch.manual_seed(0)
    config = KronosQuantilesConfig.on_body(
        BODY if body is None else body.config,
        **{"horizon": 5, "lookback": 20, "num_features": 3, "use_body": body is not None, **values},
    )
    return KronosForQuantiles.on_body(body, config)


@pytest.fixture(scope="module")
def outcomes():
    generator = torch.Generator().manual_seed(3)
    features = 2 + 3 * torch.randn(4000, 3, generator=generator)
    targets = torch.randn(4000, 5, 5, generator=generator) * torch.arange(1, 6) + 0.3
    return features, targets


def inputs(count=4, bars=20):
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 32, (2, count, bars), generator=generator)
    return {
        "s1_ids": ids[0],
        "s2_ids": ids[1],
        "stamp": torch.ones(count, bars, 5, dtype=torch.long),
        "features": torch.randn(count, 3, generator=generator),
    }


@pytest.mark.parametrize("with_body", [False, True])
def test_untrained_it_is_the_cone_whatever_the_context(outcomes, tiny_predictor, with_body):
    model = head(tiny_predictor if with_body else None).eval()
    model.fit_cone(*outcomes)
    found = model(**inputs()).quantiles
    assert found.shape == (4, 5, 5, 13)
    levels = model.config.quantile_levels
    expected = np.quantile(outcomes[1].numpy(), levels, axis=0, method="weibull").transpose(1, 2, 0)
    for row in found.detach().numpy():
        assert row == pytest.approx(expected, abs=3e-4)


def test_features_are_scaled_by_the_training_windows(outcomes):
    model = head()
    model.fit_cone(*outcomes)
    assert model.head.feature_mean.numpy() == pytest.approx(outcomes[0].mean(dim=0).numpy(), abs=1e-5)
    assert model.head.feature_scale.numpy() == pytest.approx(outcomes[0].std(dim=0, correction=0).numpy(), abs=1e-4)
    constant = torch.full((10, 3), 7.0)
    model.fit_cone(constant, outcomes[1][:10])
    assert model.head.feature_scale.tolist() == [1, 1, 1]


def test_quantiles_never_cross(outcomes, tiny_predictor):
    model = head(tiny_predictor).eval()
    model.fit_cone(*outcomes)
    for scale in (0.1, 1.0, 100.0):
        torch.nn.init.normal_(model.head.out.weight, std=scale)
        assert (model(**inputs()).quantiles.diff(dim=-1) > 0).all()


def test_targets_that_are_never_defined(outcomes):
    features, targets = outcomes[0], outcomes[1].clone()
    targets[..., 4] = torch.nan
    model = head()
    model.fit_cone(features, targets)
    assert model.head.cone.isfinite().all()
    assert model.head.cone[4].abs().max() < 1e-3


def test_a_saved_head_is_the_same(tmp_path, outcomes, tiny_predictor):
    model = head(tiny_predictor, head_dim=16, horizon_functions=2).eval()
    model.fit_cone(*outcomes)
    torch.nn.init.normal_(model.head.out.weight)
    model.save_pretrained(tmp_path)
    loaded = KronosForQuantiles.from_pretrained(tmp_path)
    assert torch.equal(loaded(**inputs()).quantiles, model(**inputs()).quantiles)
    assert loaded.config.quantile_levels == model.config.quantile_levels
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}


def test_states_computed_in_advance_give_the_same(tiny_predictor, outcomes):
    model = head(tiny_predictor).eval()
    model.fit_cone(*outcomes)
    torch.nn.init.normal_(model.head.out.weight)
    batch = inputs()
    states = model.pooled(batch["s1_ids"], batch["s2_ids"], batch["stamp"])
    assert torch.equal(model(features=batch["features"], states=states).quantiles, model(**batch).quantiles)


def test_a_frozen_body_has_no_dropout_and_no_gradient():
    torch.manual_seed(2)
    body = Kronos(KronosConfig(**{**BODY.to_dict(), "resid_dropout_p": 0.5}))
    model = head(body)
    model.train_body(False)
    model.train()
    batch = inputs()
    once, again = (model.pooled(batch["s1_ids"], batch["s2_ids"], batch["stamp"]) for _ in range(2))
    assert torch.equal(once, again)
    assert {name.split(".")[0] for name, one in model.named_parameters() if one.requires_grad} == {"head"}
    model.train_body(True)
    model.train()
    once, again = (model.pooled(batch["s1_ids"], batch["s2_ids"], batch["stamp"]) for _ in range(2))
    assert not torch.equal(once, again)
    model(**batch).quantiles.sum().backward()
    unused = [name for name, one in model.named_parameters() if one.requires_grad and one.grad is None]
    assert unused == []  # or several processes would wait for them


def test_adapters_start_without_effect_and_are_saved(tiny_predictor, tmp_path, outcomes):
    plain, adapted = head(tiny_predictor).eval(), head(tiny_predictor, lora_r=4).eval()
    for model in (plain, adapted):
        model.fit_cone(*outcomes)
        model.head.load_state_dict(plain.head.state_dict())
        torch.nn.init.constant_(model.head.out.weight, 0.01)
    assert adapted(**inputs()).quantiles.detach().numpy() == pytest.approx(
        plain(**inputs()).quantiles.detach().numpy(), abs=1e-5
    )
    adapted.train_body(True)
    trained = [name for name, one in adapted.named_parameters() if one.requires_grad and name.startswith("body.")]
    assert trained
    assert all(".lora_" in name and ".transformer." in name for name in trained)
    for name, parameter in adapted.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter)
    adapted.save_pretrained(tmp_path)
    loaded = KronosForQuantiles.from_pretrained(tmp_path)
    assert torch.equal(loaded(**inputs()).quantiles, adapted(**inputs()).quantiles)
    assert not torch.allclose(loaded(**inputs()).quantiles, plain(**inputs()).quantiles)


def test_functions_of_the_horizon():
    table = horizon_table(3, 24)
    assert table.shape == (3, 24)
    assert torch.equal(table[0], torch.ones(24))
    assert table[1, 0] == 1
    assert table[1, -1] == pytest.approx(-1)
    assert horizon_table(4, 1).tolist() == [[1], [1], [1], [1]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"horizon": 0}, "horizon=0 must be at least 1"),
        ({"lookback": 1}, "lookback=1 must be at least 2"),
        ({"horizon_functions": 99}, "horizon_functions=99 must be from 1 to 32"),
        (
            {"quantile_levels": [0.1, 0.9]},
            r"quantile_levels=\[0.1, 0.9\] must increase inside \(0, 1\) and contain 0.5",
        ),
        ({"quantile_levels": [0.5, 0.4]}, "must increase"),
        ({"quantile_levels": [0.5, 1.0]}, "must increase"),
    ],
)
def test_configurations_out_of_range(values, message):
    with pytest.raises(ValueError, match=message):
        KronosQuantilesConfig.on_body(BODY, **values)


def test_another_model_is_not_a_head(tmp_path, tiny_predictor):
    tiny_predictor.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"is not a KronosForQuantiles: its config.json lacks horizon"):
        KronosForQuantiles.from_pretrained(tmp_path)
