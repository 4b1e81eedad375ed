"""Training and evaluation with the chunked loss are those of the logits, also with adapters and in bf16."""

import copy

import pytest
import torch
from torch import nn

from mt5_ft.models import linear_cross_entropy as chunks
from mt5_ft.models.loss_head import LossHead, use_loss_head


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(chunks, "LOGITS_IN_MEMORY", 20_000)


def logged(trainer, key):
    return [entry[key] for entry in trainer.state.log_history if key in entry]


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 2e-2)])
def test_a_run_is_that_of_the_logits(make_trainer, precision, tolerance):
    linear, logits = (
        make_trainer(f"run{on}", linear_loss=on, precision=precision, gradient_accumulation_steps=2)
        for on in (True, False)
    )
    linear.train()
    logits.train()
    assert isinstance(linear.model.lm_head, LossHead)
    assert type(logits.model.lm_head) is nn.Linear
    keys = ["loss", "grad_norm", "eval_loss"]
    if precision == "fp32":  # in bf16 a tie may fall either way
        keys += ["token_accuracy", "eval_token_accuracy"]
    for key in keys:
        assert logged(linear, key) == pytest.approx(logged(logits, key), rel=tolerance), key


def batch_of(trainer, tokens, rows=8):
    return trainer.data_collator([tokens[row] for row in range(rows)])


def test_rows_and_gradients_are_those_of_the_logits(make_trainer, tokens):
    found = []
    for on in (True, False):
        trainer = make_trainer(f"run{on}", linear_loss=on)
        sums, _ = trainer._token_sums(trainer.model, batch_of(trainer, tokens))
        sums.total.backward()
        found.append((*sums, *(parameter.grad for parameter in trainer.model.parameters())))
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)


def test_below_adapters_lm_head_gets_no_gradient(make_trainer, model, tokens):
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(copy.deepcopy(model), LoraConfig(task_type="SEQ_2_SEQ_LM", target_modules=["q", "v"]))
    head = use_loss_head(adapted)
    assert adapted.get_base_model().lm_head is head
    assert not hasattr(adapted._modules, "lm_head")
    trainer = make_trainer()
    batch = {name: value for name, value in batch_of(trainer, tokens).items() if name != "row"}
    expected = model(**batch).loss
    with head.counting(batch["labels"]):
        sums = adapted(**{name: value for name, value in batch.items() if name != "labels"}).logits
    torch.testing.assert_close(sums.total / sums.tokens.sum(), expected, rtol=1e-5, atol=1e-5)
    sums.total.backward()
    assert head.weight.grad is None
    assert any(parameter.grad is not None for parameter in adapted.parameters())


def test_generation_and_the_users_own_calls_still_have_logits(make_trainer, model, tokens):
    trainer = make_trainer()
    batch = {name: value for name, value in batch_of(trainer, tokens).items() if name != "row"}
    torch.testing.assert_close(trainer.model(**batch).logits, model(**batch).logits, rtol=1e-5, atol=1e-5)
    with pytest.raises(RuntimeError), trainer.loss_head.counting(batch["labels"]):
        raise RuntimeError
    assert trainer.loss_head.labels is None


def test_the_head_is_the_same_parameter_and_is_put_in_once(model):
    weight, names = model.lm_head.weight, set(model.state_dict())
    head = use_loss_head(model)
    assert head.weight is weight
    assert use_loss_head(model) is head
    assert set(model.state_dict()) == names
    assert head.weight is not model.shared.weight


def test_where_it_cannot_be_used_the_logits_are(make_trainer, monkeypatch, model, tokens, caplog):
    monkeypatch.setattr("mt5_ft.training.trainer.use_loss_head", lambda model: None)
    trainer = make_trainer()
    assert "linear_loss is ignored" in caplog.text
    assert trainer._token_sums(trainer.model, batch_of(trainer, tokens))[0].total.isfinite()
    monkeypatch.undo()
    assert use_loss_head(nn.Sequential(nn.Linear(2, 2))) is None
    model.lm_head = nn.Linear(16, 8)  # with a bias
    assert use_loss_head(model) is None
