"""The trainer of mT5 takes what transformers' Seq2SeqTrainer takes."""

import copy

import numpy as np
import pytest
import torch
from transformers import Seq2SeqTrainingArguments

from mt5_ft import MT5Arguments, MT5Collator, MT5Trainer

SHORT = {
    "per_device_train_batch_size": 8,
    "per_device_eval_batch_size": 3,
    "gradient_accumulation_steps": 1,
    "max_steps": 2,
    "eval_steps": 2,
    "save_steps": 2,
    "warmup_steps": 0,
    "eval_on_start": False,
    "precision": "fp32",
    "generation_max_length": 8,
    "use_cpu": True,
}


@pytest.fixture
def make(model, tokenizer, tokens, tmp_path):
    def build(given=None, args=None, with_model=True, records=(), **inputs):
        args = args or MT5Arguments(output_dir=str(tmp_path / "run"), **SHORT)
        inputs = {"tokenizer": tokenizer, **inputs}
        train, validation = tokens.select(range(16)), tokens.select(range(16, 23))
        start = given or (copy.deepcopy(model) if with_model else None)
        return MT5Trainer(
            start, args, train_dataset=train, eval_dataset=validation, eval_records=list(records), **inputs
        )

    return build


def test_an_optimizer_of_its_own(make, model):
    own = copy.deepcopy(model)
    optimizer = torch.optim.SGD(own.parameters(), lr=0.5)
    trainer = make(own, optimizers=(optimizer, None))
    trainer.train()
    assert trainer.optimizer.optimizer is optimizer
    assert optimizer.param_groups[0]["initial_lr"] == 0.5


def test_a_class_of_optimizers(make):
    trainer = make(optimizer_cls_and_kwargs=(torch.optim.SGD, {"lr": 0.25}))
    trainer.train()
    assert type(trainer.optimizer.optimizer) is torch.optim.SGD
    assert trainer.optimizer.param_groups[0]["initial_lr"] == 0.25


def test_metrics_of_its_own_see_generated_summaries(make, tokenizer):
    seen = {}

    def compute(prediction):
        seen["count"] = len(prediction.predictions), len(prediction.label_ids)
        ids = np.where(prediction.predictions == -100, tokenizer.pad_token_id, prediction.predictions)
        seen["texts"] = tokenizer.batch_decode(ids, skip_special_tokens=True)
        return {"letters": float(np.mean([len(text) for text in seen["texts"]]))}

    trainer = make(compute_metrics=compute)
    trainer.train()
    assert any("eval_letters" in entry for entry in trainer.state.log_history)
    assert seen["count"] == (7, 7)
    metrics = trainer.evaluate()
    assert metrics["eval_letters"] == pytest.approx(np.mean([len(text) for text in seen["texts"]]))


def test_a_prediction_is_of_its_own_records(make, tokens, records):
    trainer = make(records=records[16:23])
    found = trainer.predict(tokens.select(range(30, 35)))
    assert found.predictions.shape[0] == found.label_ids.shape[0] == 5
    assert found.predictions.shape[1] <= 8
    assert [[one for one in row if one != -100] for row in found.label_ids.tolist()] == tokens[30:35]["labels"]
    assert "test_loss" in found.metrics
    assert "test_rougeL" not in found.metrics  # the summaries of eval_records are none of these


def test_plain_settings(make, tmp_path):
    plain = Seq2SeqTrainingArguments(str(tmp_path / "run"), max_steps=2, learning_rate=0.3, use_cpu=True)
    trainer = make(args=plain)
    assert type(trainer.args) is MT5Arguments
    assert (trainer.args.learning_rate, trainer.args.max_steps, trainer.args.eval_steps) == (
        0.3,
        2,
        2,
    )  # an evaluation at the end of an epoch of few steps
    with pytest.raises(ValueError, match="bf16=True has no effect here: set precision to bf16"):
        make(args=Seq2SeqTrainingArguments(str(tmp_path / "run"), bf16=True, use_cpu=True))


def test_a_model_by_name_brings_its_tokenizer(make, model, tokenizer, tmp_path):
    model.save_pretrained(tmp_path / "start")
    tokenizer.save_pretrained(tmp_path / "start")
    trainer = make(str(tmp_path / "start"), tokenizer=None)
    assert torch.equal(trainer.model.shared.weight, model.shared.weight)
    assert len(trainer.processing_class) == len(tokenizer)
    assert isinstance(trainer.data_collator, MT5Collator)


def test_a_function_that_makes_the_model(make, model):
    made = []

    def model_init():
        made.append(copy.deepcopy(model))
        return made[-1]

    trainer = make(with_model=False, model_init=model_init)
    trainer.train()
    assert len(made) == 2
    assert trainer.model is made[-1]
    assert trainer.loss_head is made[-1].lm_head


def test_processing_class_is_the_tokenizer(make, tokenizer):
    assert make(tokenizer=None, processing_class=tokenizer).processing_class is tokenizer
    with pytest.raises(ValueError, match="tokenizer is missing; pass the model's tokenizer"):
        make(tokenizer=None)


def test_a_push(make, hub, tmp_path, traces):
    args = MT5Arguments(output_dir=str(tmp_path / "run"), hub_model_id="me/cases", **SHORT)
    trainer = make(args=args)
    trainer.train()
    assert trainer.push_to_hub("Two steps").changed
    (commit,) = hub.history("me/cases")
    assert commit.message == "Two steps"
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= commit.files.keys()
    assert traces(hub) == []
