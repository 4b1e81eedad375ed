"""The trainers of Kronos take what transformers' Trainer takes."""

import copy
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from transformers import TrainingArguments

from kronos_ft import (
    KronosArguments,
    KronosForQuantiles,
    KronosQuantileArguments,
    KronosQuantilesConfig,
    KronosQuantileTrainer,
    KronosTokenizerArguments,
    KronosTokenizerTrainer,
    KronosTrainer,
)
from kronos_ft.windows.quantile_windows import CONTEXT_FEATURES, QuantileWindowDataset

SHORT = {
    "per_device_train_batch_size": 8,
    "per_device_eval_batch_size": 5,
    "max_steps": 2,
    "eval_strategy": "steps",
    "eval_steps": 2,
    "save_strategy": "steps",
    "save_steps": 2,
    "eval_on_start": False,
    "use_cpu": True,
    "speed": "exact",
}
OPTIMIZER = torch.optim.SGD([torch.zeros(1)])


@pytest.fixture
def make(tiny_predictor, train_tokens, validation_tokens, tmp_path):
    def build(model=None, args=None, with_model=True, **inputs):
        given = model or (copy.deepcopy(tiny_predictor) if with_model else None)
        args = args or KronosArguments(output_dir=str(tmp_path / "run"), **SHORT)
        return KronosTrainer(given, args, train_tokens, validation_tokens, **inputs)

    return build


def first_weights(model):
    return next(model.parameters()).detach().clone()


@pytest.mark.parametrize("one_cycle", [True, False])
def test_an_optimizer_of_its_own(make, tiny_predictor, tmp_path, one_cycle):
    model = copy.deepcopy(tiny_predictor)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    args = KronosArguments(output_dir=str(tmp_path / "run"), one_cycle=one_cycle, pct_start=0.5, **SHORT)
    trainer = make(model, args, optimizers=(optimizer, None))
    before = first_weights(model)
    trainer.train()
    assert trainer.optimizer.optimizer is optimizer
    assert not torch.equal(before, first_weights(trainer.model))
    rates = [entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry]
    assert max(rates) <= 0.5
    assert trainer.optimizer.param_groups[0]["initial_lr"] == (0.05 if one_cycle else 0.5)  # of 0.5, not learning_rate


def test_a_class_of_optimizers(make):
    trainer = make(optimizer_cls_and_kwargs=(torch.optim.SGD, {"lr": 0.25, "momentum": 0.5}))
    trainer.train()
    assert type(trainer.optimizer.optimizer) is torch.optim.SGD
    assert trainer.optimizer.param_groups[0]["initial_lr"] == 0.025
    assert trainer.optimizer.param_groups[0]["momentum"] == 0.5


def test_a_scheduler_of_its_own(make, tiny_predictor):
    model = copy.deepcopy(tiny_predictor)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.1)
    trainer = make(model, optimizers=(optimizer, scheduler))
    trainer.train()
    assert trainer.lr_scheduler.get_last_lr() == [pytest.approx(0.05)]


def test_an_evaluation_before_the_training(make):
    trainer = make()
    before = trainer.evaluate()
    trainer.args.eval_on_start = True
    trainer.train()
    assert trainer.state.log_history[0]["eval_loss"] == pytest.approx(before["eval_loss"])


def test_metrics_of_its_own(make, validation_tokens):
    seen = {}

    def best(logits, labels):
        return tuple(one.argmax(dim=-1) for one in logits)

    def compute(prediction):
        seen["shapes"] = [one.shape for one in (*prediction.predictions, *prediction.label_ids)]
        coarse, truth = prediction.predictions[0], prediction.label_ids[0]
        return {"coarse": float((coarse == truth).mean()), "mean_loss": float(prediction.losses.mean())}

    trainer = make(compute_metrics=compute, preprocess_logits_for_metrics=best)
    trainer.args.include_for_metrics = ["loss"]
    trainer.train()
    assert any("eval_coarse" in entry for entry in trainer.state.log_history)
    metrics = trainer.evaluate()
    assert seen["shapes"] == [(len(validation_tokens), validation_tokens.shape.length - 1)] * 4
    assert metrics["eval_coarse"] == pytest.approx(metrics["eval_accuracy_s1"], abs=1e-6)
    assert metrics["eval_mean_loss"] == pytest.approx(metrics["eval_loss"], rel=0.05)


@dataclass
class OwnTerms(KronosArguments):
    evaluation_terms = (*KronosArguments.evaluation_terms, "step")


def test_checkpoints_are_selected_by_a_metric_of_its_own(make, tmp_path):
    settings = SHORT | {"max_steps": 3, "eval_steps": 1, "save_steps": 1}
    values = iter([1.0, 3.0, 2.0])
    args = OwnTerms(str(tmp_path / "run"), metric_for_best_model="step", greater_is_better=True, **settings)
    trainer = make(args=args, compute_metrics=lambda prediction: {"step": next(values)})
    trainer.train()
    assert trainer.state.best_metric == 3.0
    assert trainer.state.best_model_checkpoint == str(tmp_path / "run" / "checkpoint-2")
    with pytest.raises(ValueError, match="metric_for_best_model"):
        KronosArguments(str(tmp_path / "run"), metric_for_best_model="step", **settings)


def test_a_prediction(make, validation_tokens):
    trainer = make()
    found = trainer.predict(validation_tokens)
    logits, labels = found.predictions[0], found.label_ids[0]
    assert logits.shape == (*labels.shape, 2**trainer.model.config.s1_bits)
    chances = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    loss = -np.take_along_axis(chances, labels[..., None], axis=-1).mean()
    assert found.metrics["test_ce_s1"] == pytest.approx(loss, rel=1e-4)


def test_predictions_of_the_tokenizer(tiny_model, train_windows, validation_windows, tmp_path):
    args = KronosTokenizerArguments(output_dir=str(tmp_path / "run"), **SHORT)
    trainer = KronosTokenizerTrainer(copy.deepcopy(tiny_model), args, train_windows, validation_windows)
    found = trainer.predict(validation_windows)
    error = np.square(found.predictions - found.label_ids).mean()
    assert found.metrics["test_recon_all"] == pytest.approx(float(error), rel=1e-4)


def test_predictions_of_the_quantile_head(tiny_predictor, tiny_model, train_windows, validation_windows, tmp_path):
    train, validation = (QuantileWindowDataset(one, tiny_model) for one in (train_windows, validation_windows))
    config = KronosQuantilesConfig.on_body(
        tiny_predictor.config, horizon=4, lookback=20, num_features=len(CONTEXT_FEATURES)
    )
    model = KronosForQuantiles.on_body(tiny_predictor, config)
    model.fit_cone(*train.outcomes(range(len(train))))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    args = KronosQuantileArguments(output_dir=str(tmp_path / "run"), **SHORT)
    trainer = KronosQuantileTrainer(model, args, train, validation, optimizers=(optimizer, None))
    found = trainer.predict(validation)
    assert found.predictions.shape == (len(validation), 4, 5, len(config.quantile_levels))
    close, low, high = found.label_ids[..., 0], found.predictions[..., 0, 2 - 1], found.predictions[..., 0, -2]
    assert found.metrics["test_coverage_90"] == pytest.approx(
        float(((low <= close) & (close <= high)).mean()), abs=0.01
    )
    trainer.create_optimizer()
    assert len(trainer.optimizer.param_groups) == 1  # not divided into head and body


def test_plain_settings(make, tmp_path, caplog, train_tokens, tiny_predictor):
    plain = TrainingArguments(str(tmp_path / "run"), max_steps=2, learning_rate=0.3, use_cpu=True)
    trainer = make(args=plain)
    assert type(trainer.args) is KronosArguments
    assert (trainer.args.learning_rate, trainer.args.max_steps) == (0.3, 2)
    assert trainer.args.weight_decay == KronosArguments.weight_decay
    assert trainer.args.eval_strategy == "epoch"
    alone = KronosTrainer(copy.deepcopy(tiny_predictor), plain, train_tokens)
    assert alone.args.eval_strategy == "no"
    alone.train()
    assert alone.state.global_step == 2


def test_plain_settings_without_effect_are_refused(make, tmp_path):
    plain = TrainingArguments(str(tmp_path / "run"), label_smoothing_factor=0.1, use_cpu=True)
    with pytest.raises(ValueError, match=r"label_smoothing_factor=0\.1 has no effect here"):
        make(args=plain)


def test_a_model_by_name(make, tiny_predictor, tmp_path):
    tiny_predictor.save_pretrained(tmp_path / "model")
    trainer = make(str(tmp_path / "model"))
    assert torch.equal(first_weights(trainer.model), first_weights(tiny_predictor))


@pytest.mark.parametrize("lora", [False, True])
def test_a_function_that_makes_the_model(make, tiny_predictor, tmp_path, lora):
    made = []

    def model_init():
        made.append(copy.deepcopy(tiny_predictor))
        return made[-1]

    args = KronosArguments(output_dir=str(tmp_path / "run"), lora=lora, **SHORT)
    trainer = make(args=args, with_model=False, model_init=model_init)
    trainer.train()
    assert len(made) == 2  # as of transformers: one at the start, a new one for each training
    trained = [name for name, one in trainer.model.named_parameters() if one.requires_grad]
    assert all(("lora" in name) is lora for name in trained)


def test_a_push(make, hub, tmp_path, traces):
    args = KronosArguments(output_dir=str(tmp_path / "run"), hub_model_id="me/model", **SHORT)
    trainer = make(args=args)
    trainer.train()
    assert hub.repositories == {}
    pushed = trainer.push_to_hub("Two steps")
    assert pushed.changed
    (commit,) = hub.history("me/model")
    assert commit.message == "Two steps"
    assert {"config.json", "model.safetensors", "README.md"} <= commit.files.keys()
    assert traces(hub) == []
    assert [one.name for one in (tmp_path / "run").iterdir() if "push" in one.name] == []


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"compute_loss_func": max}, "compute_loss_func has no effect here: override compute_loss"),
        ({"data_collator": max}, "data_collator has no effect here: the data sets return whole batches"),
        ({"processing_class": max}, "processing_class has no effect here: .* pass the tokenizer to KronosTrainer"),
        ({"model_init": max}, "model and model_init are both given"),
        ({"with_model": False}, "model is missing; pass a model, its folder or name, or model_init"),
        (
            {
                "optimizers": (torch.optim.SGD([torch.zeros(1)]), None),
                "optimizer_cls_and_kwargs": (torch.optim.SGD, {}),
            },
            "optimizers and optimizer_cls_and_kwargs are both given",
        ),
    ],
)
def test_inputs_that_contradict_each_other(make, inputs, message):
    with pytest.raises(ValueError, match=message):
        make(**inputs)


def test_a_push_without_a_repository(make):
    with pytest.raises(ValueError, match="push_to_hub needs a repository; set hub_model_id to OWNER/NAME"):
        make().push_to_hub()
