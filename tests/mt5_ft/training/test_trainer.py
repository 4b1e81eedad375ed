"""The token-weighted loss whatever the accumulation, evaluation of each row once, precision, memory."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file
from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments

from mt5_ft.models.loading import Fp32Linear, keep_feed_forward_in_fp32, use_fused_gelu
from mt5_ft.runs.out_of_memory import smaller_batch
from mt5_ft.training.arguments import MT5Arguments, choose_precision
from mt5_ft.training.trainer import MT5Trainer, token_losses
from tests.sample_order import StopAfterSave


def training_logs(trainer):
    return [entry for entry in trainer.state.log_history if "learning_rate" in entry]


@pytest.mark.fault(12)
def test_accumulation_changes_nothing(make_trainer):
    """8 x 1 = 4 x 2 = 1 x 8 with targets of uneven length: loss, gradient norm and weights."""
    runs = []
    for batch, accumulation in ((8, 1), (4, 2), (1, 8)):
        trainer = make_trainer(
            f"run{batch}", per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation
        )
        trainer.train()
        runs.append(trainer)
    for other in runs[1:]:
        for one, two in zip(training_logs(runs[0]), training_logs(other), strict=True):
            assert two["loss"] == pytest.approx(one["loss"], rel=1e-6)
            assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-5)
        for one, two in zip(runs[0].model.parameters(), other.model.parameters(), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)


def test_the_stock_trainer_is_wrong_by_the_accumulation_factor(model, tokenizer, tokens, tmp_path):
    """Why compute_loss is ours: when this fails, transformers has been mended."""
    first = []
    for batch, accumulation in ((8, 1), (2, 4)):
        args = Seq2SeqTrainingArguments(
            output_dir=str(tmp_path), per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation,
            max_steps=1, logging_steps=1, use_cpu=True, learning_rate=1e-30, train_sampling_strategy="sequential",
            save_strategy="no", disable_tqdm=True, max_grad_norm=1e9, report_to="none",
        )  # fmt: skip
        collator = DataCollatorForSeq2Seq(tokenizer, model=model)
        trainer = Seq2SeqTrainer(model, args, train_dataset=tokens.remove_columns("length"), data_collator=collator)
        trainer.train()
        first.append(trainer.state.log_history[0]["grad_norm"])
    assert first[1] / first[0] == pytest.approx(4, rel=0.2)


def test_logged_loss_is_the_mean_over_target_tokens(make_trainer, model, tokens, tokenizer):
    trainer = make_trainer(learning_rate=1e-30, logging_steps=4, eval_steps=4, save_steps=4)
    trainer.train()
    batch = trainer.data_collator([tokens[row] for row in range(32)])
    with torch.no_grad():
        logits = model(**{k: v for k, v in batch.items() if k != "labels"}).logits
    losses = token_losses(logits, batch["labels"])
    counted = batch["labels"] != -100
    expected = losses.sum() / counted.sum()
    assert training_logs(trainer)[0]["loss"] == pytest.approx(expected.item(), rel=1e-5)
    brute = [
        -torch.log_softmax(logits[row, position].double(), dim=-1)[batch["labels"][row, position]].item()
        for row in range(32)
        for position in range(batch["labels"].shape[1])
        if counted[row, position]
    ]
    assert expected.item() == pytest.approx(sum(brute) / len(brute), rel=1e-5)


def test_evaluation_counts_each_row_once_and_scores_summaries(make_trainer, records, tmp_path):
    validation = records[32:40]
    results = [
        make_trainer(f"run{batch}", validation, per_device_eval_batch_size=batch).evaluate() for batch in (1, 3, 8)
    ]
    for found in results[1:]:
        assert found["eval_loss"] == pytest.approx(results[0]["eval_loss"], rel=1e-5)
    assert {"eval_rougeL", "eval_chrf", "eval_bleu", "eval_empty_share", "eval_sentinel_share"} <= results[0].keys()
    saved = (tmp_path / "run1" / "predictions" / "predictions-0.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["id"] for line in saved] == [record.id for record in validation]


def test_lm_head_stays_untied_through_training_and_saving(make_trainer):
    trainer = make_trainer()
    before = trainer.model.shared.weight.detach().clone()
    trainer.train()
    model = trainer.model
    assert model.lm_head.weight is not model.shared.weight
    assert not torch.equal(model.lm_head.weight, model.shared.weight)
    assert not torch.equal(model.shared.weight, before)


def test_loading_the_best_checkpoint_is_silent_and_leaves_lm_head_untied(make_trainer, caplog):
    trainer = make_trainer()
    trainer.train()
    assert "missing keys" not in caplog.text
    saved = load_file(trainer.state.best_model_checkpoint + "/model.safetensors")
    assert torch.equal(trainer.model.lm_head.weight, saved["lm_head.weight"])
    assert torch.equal(trainer.model.encoder.embed_tokens.weight, saved["shared.weight"])
    assert not torch.equal(trainer.model.lm_head.weight, trainer.model.shared.weight)


def test_the_first_evaluation_is_before_the_first_step(make_trainer, records):
    trainer = make_trainer(eval_records=records[32:40])
    trainer.train()
    first, second, *_ = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    assert (first["step"], second["step"]) == (0, 2)
    assert "eval_rougeL" not in first
    assert second["eval_summarised_rows"] == 8
    assert not make_trainer(
        "other", eval_strategy="no", save_strategy="no", load_best_model_at_end=False
    ).args.eval_on_start


def test_fp16_is_guarded_for_users_of_the_trainer(make_trainer, monkeypatch):
    """On a CPU the settings refuse fp16, so it is switched on behind their back."""
    real = MT5Arguments.__post_init__

    def post_init(self):
        real(self)
        self.fp16 = True

    monkeypatch.setattr(MT5Arguments, "__post_init__", post_init)
    wo = make_trainer().model.encoder.block[0].layer[-1].DenseReluDense.wo
    assert isinstance(wo, Fp32Linear)


def test_a_non_finite_loss_stops_the_run(make_trainer):
    trainer = make_trainer(max_grad_norm=0.0, learning_rate=1e30)
    with pytest.raises(
        ValueError, match=r"was not finite in steps 2 to 4 .* weights have diverged: lower learning_rate"
    ):
        trainer.train()


def test_feed_forward_outputs_beyond_fp16_stay_finite(model):
    """128k is finite in fp32 and bf16, infinite in fp16: what the guard is for."""
    count = keep_feed_forward_in_fp32(model)
    assert count == 2
    wo = model.encoder.block[0].layer[-1].DenseReluDense.wo
    names = set(model.state_dict())
    assert "encoder.block.0.layer.1.DenseReluDense.wo.weight" in names
    with torch.no_grad():
        wo.weight.fill_(1000.0)
    x = torch.full((1, 32), 4.0)
    with torch.autocast("cpu", dtype=torch.float16):
        assert wo(x.half()).max() == 128_000
        assert torch.nn.functional.linear(x, wo.weight).isinf().any()


def test_the_fused_activation_gives_the_same_and_keeps_less(model):
    found = []
    batch = {"input_ids": torch.arange(40).view(2, 20) % 90 + 5, "labels": torch.arange(24).view(2, 12) % 90 + 5}
    model.eval()
    for number in (0, 2):
        assert (use_fused_gelu(model) if number else 0) == number
        kept = 0

        def keep(tensor):
            nonlocal kept
            kept += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = model(**batch).loss
        model.zero_grad()
        loss.backward()
        found.append((float(loss), {name: one.grad.clone() for name, one in model.named_parameters()}, kept))
    (before, gradients, much), (after, same, little) = found
    assert after == pytest.approx(before, rel=1e-6)
    for name, gradient in gradients.items():
        torch.testing.assert_close(same[name], gradient, rtol=1e-4, atol=1e-6)
    elements = model.config.d_ff * sum(one.numel() for one in batch.values())
    assert much - little >= 3 * elements


def test_the_fused_activation_does_not_overflow_in_half_precision(model):
    """400 x 200 is finite in fp32 and infinite in fp16, where the gate must not be rounded to it."""
    use_fused_gelu(model)
    gate = model.encoder.block[0].layer[-1].DenseReluDense.act
    with torch.autocast("cpu", dtype=torch.float16):
        product = gate(torch.full((2,), 400.0).half()) * torch.full((2,), 200.0).half()
    assert product.tolist() == [80_000.0, 80_000.0]
    assert gate(torch.ones(2).half()).dtype == torch.float16  # a model that is half throughout stays so


@pytest.mark.parametrize(
    ("batch", "accumulation", "expected"), [(8, 2, (4, 4)), (6, 1, (3, 2)), (9, 1, (3, 3)), (5, 2, (1, 10))]
)
def test_a_smaller_batch_keeps_the_effective_one(batch, accumulation, expected):
    assert smaller_batch(batch, accumulation) == expected
    assert math.prod(expected) == batch * accumulation


def test_no_smaller_batch_than_one():
    with pytest.raises(ValueError, match=r"lora true .* optimizer adafactor .* max_source_length"):
        smaller_batch(1, 8)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"precision": "fp8"}, "precision='fp8' is not known; use one of auto, fp32, bf16, fp16"),
        ({"precision": "fp16", "use_cpu": True}, "mixed_precision=fp16 has no effect on a CPU"),
        ({"optimizer": "sgd"}, "optimizer='sgd' is not known; use one of adamw, adafactor"),
        ({"learning_rate": -1.0}, "learning_rate=-1.0 is not positive"),
        ({"metric_for_best_model": "rougeX"}, "metric_for_best_model='rougeX' is not evaluated"),
        ({"save_steps": 5, "eval_steps": 10}, "save_steps=5 must be a multiple of eval_steps=10"),
        ({"save_steps": 25, "eval_steps": 10}, "save_steps=25 must be a multiple of eval_steps=10"),
        ({"label_smoothing_factor": 0.1}, "label_smoothing_factor=0.1 has no effect here: the loss is plain"),
        ({"average_tokens_across_devices": False}, "average_tokens_across_devices=False has no effect here"),
        ({"save_only_model": True}, "save_only_model=True has no effect here: .* cannot be resumed"),
        ({"predict_with_generate": True}, "predict_with_generate=True has no effect here: set eval_generate_rows"),
        (
            {"auto_find_batch_size": True},
            "auto_find_batch_size=True has no effect here: the batch is halved automatically",
        ),
        ({"generation_config": "x"}, "generation_config=x has no effect here: set generation_max_length"),
        ({"resume_from_checkpoint": "x"}, "resume_from_checkpoint=x has no effect here: set resume"),
        ({"optim": "sgd"}, "optim=sgd has no effect here: set optimizer to one of adamw, adafactor"),
        ({"bf16": True}, "bf16=True has no effect here: set precision to bf16"),
        ({"fp16": True, "precision": "fp32"}, "fp16=True has no effect here: set precision to fp16"),
        ({"chinese": "word"}, "chinese='word' is not known"),
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size=0 is below 1"),
        ({"eval_generate_rows": -1}, "eval_generate_rows=-1 is negative"),
        ({"eval_strategy": "no", "save_strategy": "no"}, "load_best_model_at_end=True needs evaluations"),
    ],
)
def test_settings_that_are_refused(values, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        MT5Arguments(output_dir=str(tmp_path), **values)


def test_defaults_by_optimizer_and_device(tmp_path):
    args = MT5Arguments(output_dir=str(tmp_path), use_cpu=True, precision="fp32")
    assert (args.learning_rate, args.optim.value) == (1e-4, "adamw_torch_fused")
    factored = MT5Arguments(output_dir=str(tmp_path), use_cpu=True, precision="fp32", optimizer="adafactor")
    assert (factored.learning_rate, factored.optim.value) == (1e-3, "adafactor")
    assert choose_precision("auto", on_cpu=True) in ("fp32", "bf16")
    assert MT5Arguments(output_dir=str(tmp_path), metric_for_best_model="rougeL", use_cpu=True).greater_is_better


def test_processes_agree_on_a_precision_that_each_has_timed(tmp_path, monkeypatch):
    monkeypatch.setattr("mt5_ft.training.arguments.bf16_pays_on_cpu", lambda: False)
    monkeypatch.setattr("mt5_ft.training.arguments.broadcast_object_list", lambda found: ["bf16"])
    monkeypatch.setattr(MT5Arguments, "world_size", property(lambda self: 2))
    args = MT5Arguments(output_dir=str(tmp_path), use_cpu=True)
    assert (args.precision, args.bf16, args.mixed_precision) == ("bf16", True, "bf16")
    args = MT5Arguments(output_dir=str(tmp_path), use_cpu=True, precision="fp32")
    assert (args.precision, args.bf16, args.mixed_precision) == ("fp32", False, "no")


def test_the_launcher_s_precision_is_taken_when_none_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert MT5Arguments(output_dir=str(tmp_path), use_cpu=True).precision == "bf16"
    assert MT5Arguments(output_dir=str(tmp_path), use_cpu=True, precision="fp32").mixed_precision == "no"


def test_a_score_decides_and_chinese_is_cut_as_asked(make_trainer, records, monkeypatch):
    import mt5_ft.training.trainer as module

    real, asked = module.score_texts, set()
    monkeypatch.setattr(
        module, "score_texts", lambda a, b, chinese, sources: asked.add(chinese) or real(a, b, chinese, sources)
    )
    trainer = make_trainer(eval_records=records[32:40], metric_for_best_model="rougeL", chinese="jieba")
    trainer.train()
    assert asked == {"jieba"}
    assert trainer.state.best_global_step in (2, 4)


def test_muon_with_averaged_weights_resumes_to_the_same_bits(make_trainer):
    settings = {"optim": "muon", "ema_decay": 0.5}
    whole = make_trainer("whole", **settings)
    whole.train()
    make_trainer("cut", callbacks=[StopAfterSave(2)], **settings).train()
    resumed = make_trainer("cut", resume=True, **settings)
    resumed.train()
    assert resumed.args.optimizer == "muon"
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True))
    with pytest.raises(ValueError, match=r"muon_learning_rate=0\.001 has no effect with optimizer=adamw"):
        make_trainer("other", muon_learning_rate=1e-3)


def test_summaries_are_those_of_the_averaged_weights(make_trainer, records, tmp_path, monkeypatch):
    seen = []
    real = MT5Trainer._generate_and_score

    def spy(self, rows):
        seen.append({name: one.detach().clone() for name, one in self.model.named_parameters()})
        return real(self, rows)

    monkeypatch.setattr(MT5Trainer, "_generate_and_score", spy)
    make_trainer(ema_decay=0.9, eval_generate_rows=2, eval_records=records[32:40]).train()
    saved = load_file(tmp_path / "run" / "checkpoint-4" / "model.safetensors")
    assert all(torch.equal(one, saved[name]) for name, one in seen[1].items() if name in saved)
