"""mT5: a step whose loss is not finite is left out, and its records are named."""

import json
import math

import pytest
import torch

from mt5_ft.training.trainer import MT5Trainer


@pytest.mark.fault(8)
@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_bad_step_is_left_out_and_its_records_named(make_trainer, monkeypatch, tmp_path, records, accumulation):
    """One record of a step, whichever micro-batch it is in."""
    real = MT5Trainer._token_sums
    bad = 5

    def sums(self, model, inputs):
        found, outputs = real(self, model, inputs)
        losses = torch.where(inputs["row"] == bad, math.nan, found.losses)
        return found._replace(losses=losses, total=found.total + losses.sum() - found.losses.sum()), outputs

    monkeypatch.setattr(MT5Trainer, "_token_sums", sums)
    settings = {"per_device_train_batch_size": 8 // accumulation, "gradient_accumulation_steps": accumulation}
    trainer = make_trainer(**settings, eval_strategy="no", save_strategy="no", load_best_model_at_end=False)
    trainer.train()
    assert all(parameter.isfinite().all() for parameter in trainer.model.parameters())
    (entry,) = json.loads((tmp_path / "run" / "bad_steps.json").read_text("utf-8"))
    assert entry["step"] == 1
    assert entry["offending"] == [records[bad].id]
    assert [sample["sample"] for sample in entry["samples"]] == [record.id for record in records[:8]]
    assert all(sample["target_tokens"] > 0 for sample in entry["samples"])
    logged = [entry["loss"] for entry in trainer.state.log_history if "learning_rate" in entry]
    assert math.isnan(logged[0])
    assert all(math.isfinite(loss) for loss in logged[1:])


@pytest.mark.fault(9)
def test_a_nan_metric_is_never_the_best(make_trainer, monkeypatch):
    real, count = MT5Trainer.logged_terms, [0]

    def terms(self, sums, weight):
        found = real(self, sums, weight)
        if not self.model.training:
            count[0] += 1
            found["loss"] = math.nan if count[0] < 3 else found["loss"]
        return found

    monkeypatch.setattr(MT5Trainer, "logged_terms", terms)
    trainer = make_trainer()
    trainer.train()
    assert trainer.state.best_global_step == 4
    assert math.isfinite(trainer.state.best_metric)
