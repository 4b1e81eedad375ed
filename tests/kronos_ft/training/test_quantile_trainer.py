"""The trainer of the quantile head: its loss by hand, exact figures, resuming, and that training helps."""

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from kronos_ft.models.modeling_quantiles import KronosForQuantiles, KronosQuantilesConfig
from kronos_ft.training.losses import QUANTILE_TERMS, quantile_objective, quantile_terms
from kronos_ft.training.quantile_arguments import KronosQuantileArguments, QuantileModelArguments
from kronos_ft.training.quantile_trainer import KronosQuantileTrainer
from kronos_ft.windows.quantile_windows import CONTEXT_FEATURES, QuantileWindowDataset


@pytest.fixture(scope="session")
def quantile_windows(train_windows, validation_windows, _tiny_model):
    return tuple(QuantileWindowDataset(windows, _tiny_model) for windows in (train_windows, validation_windows))


@pytest.fixture
def make(quantile_windows, tiny_predictor, tmp_path):
    def build(body="full", output=None, train=None, **settings):
        torch.manual_seed(4)
        config = KronosQuantilesConfig.on_body(
            tiny_predictor.config,
            horizon=4,
            lookback=20,
            num_features=len(CONTEXT_FEATURES),
            head_dropout_p=0.2,
            lora_r=4 if body == "lora" else 0,
        )
        model = KronosForQuantiles.on_body(tiny_predictor, config)
        model.train_body(body != "frozen")
        model.fit_cone(*quantile_windows[0].outcomes(range(len(quantile_windows[0]))))
        values = {
            "output_dir": str(output or tmp_path / "run"),
            "per_device_train_batch_size": 8,
            "max_steps": 6,
            "eval_strategy": "steps",
            "eval_steps": 3,
            "save_strategy": "steps",
            "save_steps": 3,
            "logging_steps": 1,
            "use_cpu": True,
            "early_stopping": False,
            **settings,
        }
        return KronosQuantileTrainer(
            model, KronosQuantileArguments(**values), train or quantile_windows[0], quantile_windows[1]
        )

    return build


def test_the_loss_by_hand():
    levels = [0.05, 0.5, 0.95]
    quantiles = torch.tensor([-1.0, 0.0, 2.0]).expand(1, 2, 5, 3)
    targets = torch.zeros(1, 2, 5)
    targets[0, :, 0] = torch.tensor([3.0, 1.0])  # above all, and inside
    targets[0, 1, 4] = torch.nan
    terms = quantile_terms(quantiles, targets, levels)
    above = (0.05 * 4 + 0.5 * 3 + 0.95 * 1) / 3
    inside = (0.05 * 2 + 0.5 * 1 + 0.05 * 1) / 3
    middle = (0.05 * 1 + 0 + 0.05 * 2) / 3
    assert terms[0, :5].tolist() == pytest.approx([above + inside, *[2 * middle] * 3, middle])
    assert terms[0, 5:].tolist() == [2, 2, 2, 2, 1, 1, 2]
    found = quantile_objective(terms.sum(dim=0))
    assert float(found["pinball_close"]) == pytest.approx((above + inside) / 2)
    assert float(found["loss"]) == pytest.approx(((above + inside) / 2 + 4 * middle) / 5)
    assert float(found["coverage_90"]) == 0.5
    assert list(found) == ["loss", *(f"pinball_{name}" for name in QUANTILE_TERMS), "coverage_90"]


def test_the_true_quantiles_have_the_lowest_loss():
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(20_000, 1, 5, generator=generator)
    levels = [0.1, 0.5, 0.9]
    true = torch.tensor([-1.2816, 0.0, 1.2816])

    def loss(quantiles):
        terms = quantile_terms(quantiles.expand(len(targets), 1, 5, 3), targets, levels)
        return float(quantile_objective(terms.sum(dim=0))["loss"])

    for change in (true * 1.2, true * 0.8, true + 0.2, true - 0.2):
        assert loss(change) > loss(true)


def test_evaluation_is_of_the_whole_split_and_step_0_is_the_cone(make, quantile_windows):
    trainer = make()
    validation = quantile_windows[1]
    targets = validation.outcomes(range(len(validation)))[1]
    cone = trainer.model.head.cone.transpose(0, 1).expand(len(targets), -1, -1, -1)
    expected = quantile_objective(quantile_terms(cone, targets, trainer.levels).sum(dim=0))
    for size in (3, 64):
        trainer.args.per_device_eval_batch_size = size
        found = trainer.evaluate()
        for name, value in expected.items():
            assert found[f"eval_{name}"] == pytest.approx(float(value), abs=1e-5)


def test_training_lowers_the_loss_and_every_figure_is_logged(make):
    trainer = make(max_steps=60, eval_steps=30, save_steps=30, learning_rate=3e-3)
    trainer.train()
    evaluations = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    assert evaluations[-1]["eval_loss"] < evaluations[0]["eval_loss"]
    logged = next(entry for entry in trainer.state.log_history if "learning_rate" in entry)
    assert {*trainer.summary_terms, "bars_per_second", "grad_norm"} <= logged.keys()


def test_body_and_head_have_their_own_rates(make):
    trainer = make(learning_rate=1e-3, body_learning_rate=1e-5, pct_start=0.5, div_factor=10.0)
    trainer.train()
    groups = trainer.optimizer.optimizer.param_groups
    assert [group["max_lr"] for group in groups] == pytest.approx([1e-3, 1e-5])
    body = {id(one) for one in trainer.model.body.parameters()}
    assert {id(one) in body for one in groups[0]["params"]} == {False}
    assert {id(one) in body for one in groups[1]["params"]} == {True}
    trained = [one for one in trainer.model.parameters() if one.requires_grad]
    assert sum(len(group["params"]) for group in groups) == len(trained)


@pytest.mark.fault(1)
@pytest.mark.parametrize("body", ["full", "lora", "frozen"])
def test_a_resumed_run_ends_bit_equal(make, tmp_path, body):
    make(body, tmp_path / "whole").train()
    make(body, tmp_path / "parts", max_steps=6).train()
    for path in (tmp_path / "parts" / "checkpoint-6",):
        for file in sorted(path.iterdir(), reverse=True):
            file.unlink()
        path.rmdir()
    again = make(body, tmp_path / "parts", resume=True)
    again.train()
    states = [load_file(tmp_path / name / "checkpoint-6" / "model.safetensors") for name in ("whole", "parts")]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_frozen_body_stays_and_states_give_the_same(make, quantile_windows, tiny_predictor, tmp_path):
    from kronos_ft.runs.quantiles import pool_states

    trainer = make("frozen", tmp_path / "tokens")
    trainer.train()
    body = tiny_predictor.state_dict()
    assert all(torch.equal(value, body[name]) for name, value in trainer.model.body.state_dict().items())
    cached = copy.copy(quantile_windows[0])
    pool_states(cached, trainer.model, torch.device("cpu"))
    assert set(cached[0]) == {"features", "targets", "states", "window"}
    other = make("frozen", tmp_path / "states", train=cached)
    other.train()
    for name, value in trainer.model.head.state_dict().items():
        assert value.numpy() == pytest.approx(other.model.head.state_dict()[name].numpy(), abs=1e-5), name


def test_terms_of_single_windows_average_to_the_loss(make, quantile_windows):
    trainer = make()
    batch = trainer._prepare_inputs(quantile_windows[0].__getitems__(range(5)))
    trainer.model.eval()
    with torch.no_grad():
        terms = trainer.sample_terms(batch)
        whole = trainer.compute_loss(trainer.model, batch)
    assert np.mean(terms["loss"].numpy()) == pytest.approx(float(whole), rel=1e-5)
    assert len(trainer.sample_names(batch)) == 5


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (QuantileModelArguments, {"body": "half"}, "body='half' is not known; use one of frozen, lora, full, none"),
        (QuantileModelArguments, {"lora_r": 0}, "lora_r=0 is below 1"),
        (QuantileModelArguments, {"head_dim": 0}, "head_dim=0 is below 1"),
        (QuantileModelArguments, {"head_dropout_p": 1.0}, r"head_dropout_p=1.0 is outside \[0, 1\)"),
        (KronosQuantileArguments, {"body_learning_rate": 0.0}, "body_learning_rate=0.0 is not positive"),
    ],
)
def test_settings_out_of_range(kind, values, message):
    with pytest.raises(ValueError, match=message):
        kind(**values)


@pytest.mark.parametrize(("muon", "of_muon"), [(None, 1e-5), (3e-3, 3e-3)])
def test_rates_of_a_body_trained_by_muon(make, muon, of_muon):
    schedule = {"one_cycle": False, "warmup_steps": 2}
    trainer = make(optim="muon", muon_learning_rate=muon, learning_rate=1e-3, body_learning_rate=1e-5, **schedule)
    trainer.train()
    assert [group["initial_lr"] for group in trainer.optimizer.param_groups] == [1e-3, 1e-5, of_muon]


def test_a_forced_resume_takes_the_new_rates_of_each_group(make, tmp_path):
    """Also with a warm-up, in which all rates begin at 0."""
    schedule = {"one_cycle": False, "warmup_steps": 2, "optim": "muon", "learning_rate": 1e-3}
    make(output=tmp_path / "run", body_learning_rate=1e-4, **schedule).train()
    again = make(
        output=tmp_path / "run", body_learning_rate=1e-5, muon_learning_rate=3e-3, max_steps=9, resume_force=True,
        **schedule,
    )  # fmt: skip
    again.train()
    assert [group["initial_lr"] for group in again.optimizer.param_groups] == pytest.approx([1e-3, 1e-5, 3e-3])


def test_another_optimizer_is_another_run(make, tmp_path):
    make(output=tmp_path / "run").train()
    with pytest.raises(ValueError, match=r"with another optimizer \(optim: adamw_torch_fused -> muon\)"):
        make(output=tmp_path / "run", optim="muon", max_steps=9, resume_force=True).train()
