"""The predictor's trainer: logged terms against recomputation, causality, conditioning, accumulation, resume."""

import json
import math
from pathlib import Path

import pytest
import torch
from matplotlib import image
from transformers import TrainerCallback

from ft_core.checkpoints.listing import list_checkpoints
from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.models.configuration_kronos import KronosConfig
from kronos_ft.models.found_model import find_model
from kronos_ft.models.identity import weights_hash
from kronos_ft.models.modeling_kronos import Kronos, KronosTokenizer
from kronos_ft.models.pairing import trained_with
from kronos_ft.runs.finish import finish_run, summary_table
from kronos_ft.training.losses import predictor_objective, predictor_terms
from kronos_ft.windows.augmentation import AugmentationArguments
from kronos_ft.windows.dataset import WindowDataset, WindowShape
from kronos_ft.windows.tokens import TokenWindowDataset

TERMS = ("loss", "ce_s1", "ce_s2", "accuracy_s1", "accuracy_s2")
PERPLEXITIES = ("perplexity_s1", "perplexity_s2")


def terms_of(model, batch, conditioning="true"):
    """Terms of a batch of whole windows: bars 1 to T given bars 0 to T-1."""
    s1, s2 = batch["s1"][:, 1:], batch["s2"][:, 1:]
    with torch.no_grad():
        output = model(
            batch["s1"][:, :-1], batch["s2"][:, :-1], batch["stamps"][:, :-1], s1 if conditioning == "true" else None
        )
    found = predictor_objective(predictor_terms(output.s1_logits, output.s2_logits, s1, s2).mean(dim=0))
    return {name: value.item() for name, value in found.items()}


def training_logs(trainer):
    return [entry for entry in trainer.state.log_history if "learning_rate" in entry]


class Stop(TrainerCallback):
    """Ends training right after the save at a step, as a kill would."""

    def __init__(self, step):
        self.step = step

    def on_save(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step >= self.step


def test_every_promised_figure_is_logged(make_predictor_trainer):
    trainer = make_predictor_trainer(max_steps=2, eval_steps=2, save_steps=2)
    trainer.train()
    names = {*TERMS, *PERPLEXITIES, "learning_rate", "grad_norm", "weight_norm", "bars_per_second"}
    for entry in training_logs(trainer):
        assert names <= entry.keys()
        assert all(math.isfinite(entry[name]) for name in names)
    evaluation = next(entry for entry in trainer.state.log_history if "eval_loss" in entry)
    assert {f"eval_{name}" for name in (*TERMS, *PERPLEXITIES)} <= evaluation.keys()
    assert not any("published" in name for name in evaluation)


def test_training_terms_are_means_over_all_windows_since_the_last_entry(
    make_predictor_trainer, tiny_predictor, train_tokens
):
    """With a learning rate of almost nothing the weights stay, so that every step can be recomputed afterwards."""
    trainer = make_predictor_trainer(
        learning_rate=1e-30,
        weight_decay=0.0,
        max_steps=4,
        logging_steps=2,
        eval_steps=4,
        save_steps=4,
        gradient_accumulation_steps=2,
    )
    trainer.train()
    order = list(trainer.sampler)
    for position, entry in enumerate(training_logs(trainer)):
        rows = order[position * 32 : position * 32 + 32]
        expected = terms_of(tiny_predictor, train_tokens.__getitems__(rows))
        for name in TERMS:
            assert entry[name] == pytest.approx(expected[name], rel=1e-5), name
        for half in ("s1", "s2"):  # of the mean, not the mean of perplexities
            assert entry[f"perplexity_{half}"] == pytest.approx(math.exp(expected[f"ce_{half}"]), rel=1e-5)


def test_evaluation_is_of_the_whole_split_whatever_the_batch_and_the_training(
    make_predictor_trainer, tiny_predictor, validation_tokens
):
    n = len(validation_tokens)
    expected = terms_of(tiny_predictor.eval(), validation_tokens.__getitems__(range(n)))
    for batch in (1, 7, n):
        for conditioning in ("true", "sampled"):
            found = make_predictor_trainer(per_device_eval_batch_size=batch, s1_conditioning=conditioning).evaluate()
            for name in TERMS:
                assert found[f"eval_{name}"] == pytest.approx(expected[name], rel=1e-5), (batch, name)
            assert found["eval_perplexity_s2"] == pytest.approx(math.exp(expected["ce_s2"]), rel=1e-5)


def test_windows_are_tokenised_step_by_step_as_cached_ones(
    make_predictor_trainer, train_windows, validation_windows, tiny_model
):
    cached, fresh = (
        make_predictor_trainer(output=None, **data)
        for data in ({}, {"train": train_windows, "validation": validation_windows, "tokenizer": tiny_model})
    )
    cached.train()
    fresh.args.output_dir += "-fresh"
    fresh.train()
    for one, other in zip(training_logs(cached), training_logs(fresh), strict=True):
        assert {name: one[name] for name in TERMS} == {name: other[name] for name in TERMS}
    assert tiny_model.training  # the caller's own is left alone


def test_augmented_windows_are_the_input_and_clean_ones_the_target(make_predictor_trainer, series, tiny_model):
    windows = WindowDataset(
        series, "train", WindowShape(20, 4), augmentation=AugmentationArguments(augment_noise=True, noise_std=0.5)
    )
    trainer = make_predictor_trainer(train=windows, tokenizer=tiny_model)
    batch = windows.__getitems__(range(6))
    inputs = trainer._prepare_inputs(dict(batch))
    for name, candles in (("s1", "candles"), ("target_s1", "target")):
        assert torch.equal(inputs[name], tiny_model.eval().encode(batch[candles], half=True)[0])
    assert not torch.equal(inputs["s1"], inputs["target_s1"])
    expected = make_predictor_trainer()._call(trainer.model.eval(), inputs, s1_targets=inputs["target_s1"][:, 1:])
    loss = trainer.compute_loss(trainer.model, inputs)
    terms = predictor_terms(
        expected.s1_logits, expected.s2_logits, inputs["target_s1"][:, 1:], inputs["target_s2"][:, 1:]
    )
    assert loss.item() == pytest.approx(terms[:, :2].mean().item(), rel=1e-6)


def test_the_fine_token_is_trained_on_the_true_or_on_a_sampled_coarse_one(
    make_predictor_trainer, tiny_predictor, train_tokens
):
    batch = train_tokens.__getitems__(range(8))
    given, drawn = (make_predictor_trainer(s1_conditioning=conditioning) for conditioning in ("true", "sampled"))
    assert given.compute_loss(given.model, batch).item() == pytest.approx(terms_of(tiny_predictor, batch)["loss"])
    torch.manual_seed(11)
    expected = terms_of(tiny_predictor, batch, "sampled")["loss"]
    torch.manual_seed(11)
    assert drawn.compute_loss(drawn.model, batch).item() == pytest.approx(expected)
    assert drawn.compute_loss(drawn.model, batch).item() != pytest.approx(expected, abs=1e-7)


def test_a_sampled_coarse_token_teaches_to_ignore_it(make_predictor_trainer, train_tokens, validation_tokens, tmp_path):
    """What the two ways do to the fine token given the true coarse one, after the same training."""
    settings = {"max_steps": 80, "learning_rate": 1e-2, "eval_steps": 80, "save_steps": 80, "logging_steps": 40}
    gains = {}
    for conditioning in ("true", "sampled"):
        trainer = make_predictor_trainer(
            output=tmp_path / conditioning, s1_conditioning=conditioning, per_device_train_batch_size=16, **settings
        )
        trainer.train()
        batch = validation_tokens.__getitems__(range(len(validation_tokens)))
        s1, s2 = batch["s1"][:, 1:], batch["s2"][:, 1:]
        other = torch.randint(32, s1.shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            outputs = [trainer._call(trainer.model.eval(), batch, s1_targets=given) for given in (s1, other)]
        losses = [predictor_terms(out.s1_logits, out.s2_logits, s1, s2)[:, 1].mean().item() for out in outputs]
        gains[conditioning] = losses[1] - losses[0]
    assert gains["true"] > 10 * abs(gains["sampled"])


@pytest.mark.fault(17)
def test_evaluation_does_not_see_the_future_and_the_published_one_does(make_predictor_trainer, validation_tokens):
    trainer = make_predictor_trainer(eval_like_published=True)
    batch = validation_tokens.__getitems__(range(8))
    changed = {name: values.clone() for name, values in batch.items()}
    for name in ("s1", "s2"):
        changed[name][:, 15:] = (changed[name][:, 15:] + 3) % 32
    model = trainer.model.eval()
    with torch.no_grad():
        before, after = (trainer._call(model, one, s1_targets=one["s1"][:, 1:]) for one in (batch, changed))
        seeing = [trainer._call(model, one, s1_targets=batch["s1"][:, 1:], causal=False) for one in (batch, changed)]
    # the prediction of bar 14 is the last that may not change
    assert torch.equal(before.s1_logits[:, :14], after.s1_logits[:, :14])
    assert torch.equal(before.s2_logits[:, :14], after.s2_logits[:, :14])
    assert not torch.allclose(seeing[0].s2_logits[:, :14], seeing[1].s2_logits[:, :14])


def test_published_figures_stand_beside_the_causal_ones_and_draw_nothing_from_training(
    make_predictor_trainer, tiny_predictor, validation_tokens
):
    plain = make_predictor_trainer().evaluate()
    trainer = make_predictor_trainer(eval_like_published=True)
    before = torch.random.get_rng_state()
    found, again = trainer.evaluate(), trainer.evaluate()
    assert torch.equal(torch.random.get_rng_state(), before)
    for name in (*TERMS, *PERPLEXITIES):
        assert found[f"eval_{name}"] == plain[f"eval_{name}"]
    assert found["eval_published_ce_s2"] == again["eval_published_ce_s2"]

    trainer.model.sample_sibling = tiny_predictor.sample_sibling = lambda logits: logits.argmax(dim=-1)
    found = trainer.evaluate()
    batch = validation_tokens.__getitems__(range(len(validation_tokens)))
    with torch.no_grad():
        logits = trainer._call(tiny_predictor.eval(), batch, causal=False).s2_logits
    mean = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch["s2"][:, 1:].flatten()).item()
    assert found["eval_published_ce_s2"] == pytest.approx(mean, rel=1e-5)
    assert found["eval_published_ce_s2"] != pytest.approx(found["eval_ce_s2"], rel=1e-4)
    assert found["eval_published_loss"] == pytest.approx((found["eval_ce_s1"] + mean) / 2, rel=1e-5)


@pytest.mark.fault(12)
def test_accumulation_equals_a_large_batch(make_predictor_trainer, series, tiny_model, tmp_path):
    """8 = 4 x 2 past the end of an epoch."""
    train = TokenWindowDataset(WindowDataset(series, "train", WindowShape(20, 4, stride=20)), tiny_model)
    assert len(train) % 8
    runs = []
    for size, accumulation in ((8, 1), (4, 2)):
        trainer = make_predictor_trainer(
            train=train,
            output=tmp_path / str(size),
            per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulation,
            max_steps=9,
        )
        trainer.train()
        runs.append(trainer)
    assert runs[0].state.epoch > 2
    for one, other in zip(*(training_logs(trainer) for trainer in runs), strict=True):
        for name in (*TERMS, *PERPLEXITIES, "grad_norm"):
            assert one[name] == pytest.approx(other[name], rel=1e-5), name
    for one, other in zip(*(trainer.model.parameters() for trainer in runs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "kind", ["tokens", "dropout and sampling", "augmented", "adapters", "muon and average", "adapters and average"]
)
def test_a_resumed_run_ends_bit_equal(make_predictor_trainer, series, tiny_model, tiny_predictor, tmp_path, kind):
    settings = {"max_steps": 18, "per_device_train_batch_size": 10, "eval_steps": 9, "save_steps": 9}
    shape = WindowShape(20, 4, stride=8)
    if kind == "augmented":
        augmentation = AugmentationArguments(augment_noise=True, augment_time_shift=True)
        settings |= {
            "train": WindowDataset(series, "train", shape, augmentation=augmentation, seed=5),
            "tokenizer": tiny_model,
        }
    else:
        settings["train"] = TokenWindowDataset(WindowDataset(series, "train", shape), tiny_model)
    if kind == "dropout and sampling":
        torch.manual_seed(0)
        values = {**KronosConfig.from_size("tiny").to_dict(), "resid_dropout_p": 0.2, "token_dropout_p": 0.1}
        settings |= {
            "model": Kronos(KronosConfig(**values)),
            "s1_conditioning": "sampled",
            "eval_like_published": True,
        }
    if "average" in kind:
        settings |= {"ema_decay": 0.8}
    if "muon" in kind:
        settings |= {"optim": "muon", "muon_learning_rate": 3e-3}
    if "adapters" in kind:
        tiny_predictor.save_pretrained(tmp_path / "base")
        settings |= {"model": Kronos.from_pretrained(tmp_path / "base"), "lora": True, "lora_r": 4}
    whole = make_predictor_trainer(output=tmp_path / "whole", **settings)
    whole.train()
    make_predictor_trainer(output=tmp_path / "cut", callbacks=[Stop(9)], **settings).train()
    assert max(list_checkpoints(tmp_path / "cut")) == 9
    resumed = make_predictor_trainer(output=tmp_path / "cut", resume=True, **settings)
    resumed.train()
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)
    timing = ("runtime", "per_second", "flos", "train_loss")
    histories = [
        [{k: v for k, v in e.items() if not any(word in k for word in timing)} for e in trainer.state.log_history]
        for trainer in (whole, resumed)
    ]
    assert histories[0] == histories[1]


def test_other_ways_to_train_are_not_resumed(make_predictor_trainer):
    make_predictor_trainer(callbacks=[Stop(3)]).train()
    with pytest.raises(
        ValueError, match=r"with other settings .symbol_weighting: length -> even; s1_cond.*: true -> s"
    ):
        make_predictor_trainer(resume=True, s1_conditioning="sampled", symbol_weighting="even").train()


def test_training_helps_and_the_best_model_is_saved(make_predictor_trainer, validation_tokens, drawn_curves, tmp_path):
    trainer = make_predictor_trainer(
        max_steps=60, eval_steps=10, save_steps=10, learning_rate=1e-2, per_device_train_batch_size=16
    )
    trainer.train()
    metrics = finish_run(trainer, validation_tokens)
    assert metrics["improved"]
    assert metrics["best"]["value"] < 0.8 * metrics["start"]
    run = tmp_path / "run"
    assert sorted(path.name for path in (run / "best_model").iterdir()) == [
        "config.json",
        "forecaster.json",
        "model.safetensors",
        "trained_with.json",
    ]
    best = Kronos.from_pretrained(run / "best_model")
    found = terms_of(best, validation_tokens.__getitems__(range(len(validation_tokens))))
    assert found["loss"] == pytest.approx(metrics["best"]["value"], rel=1e-5)
    assert metrics["test"]["ce_s2"] == pytest.approx(found["ce_s2"], rel=1e-5)
    assert image.imread(run / "loss_curves.png").shape[1] == 1210
    table = summary_table(json.loads((run / "training_metrics.json").read_text()))
    for term in (*TERMS, *PERPLEXITIES):
        assert term in table


def test_symbols_are_weighted_evenly_on_request(make_predictor_trainer, tiny_model):
    tables = {"A": simulate_candles(400, seed=1), "B": simulate_candles(60, seed=2)}
    windows = WindowDataset(load_candles(tables), "train", WindowShape(20, 4))
    train = TokenWindowDataset(windows, tiny_model)
    long = windows.windows_per_symbol[0]
    shares = {}
    for weighting in ("length", "even"):
        trainer = make_predictor_trainer(train=train, symbol_weighting=weighting)
        trainer.get_train_dataloader()
        order = list(trainer.sampler)
        shares[weighting] = sum(index % len(train) >= long for index in order) / len(order)
    assert shares["length"] < 0.1
    assert shares["even"] == pytest.approx(0.5, abs=0.03)


def test_bf16_trains_and_keeps_fp32_weights(make_predictor_trainer):
    trainer = make_predictor_trainer(bf16=True, max_steps=3)
    trainer.train()
    assert all(p.dtype == torch.float32 for p in trainer.model.parameters())
    assert all(math.isfinite(entry["loss"]) for entry in training_logs(trainer))


@pytest.mark.fault(25)
def test_models_that_do_not_fit_each_other_are_refused(make_predictor_trainer, train_windows, tiny_model):
    with pytest.raises(ValueError, match="a WindowDataset needs a tokenizer"):
        make_predictor_trainer(train=train_windows)
    wide = Kronos(KronosConfig(**{**KronosConfig.from_size("tiny").to_dict(), "s2_bits": 6}))
    with pytest.raises(ValueError, match="the tokenizer has s2_bits=5 but the predictor s2_bits=6; pass the tokenizer"):
        make_predictor_trainer(model=wide, tokenizer=tiny_model)


@pytest.mark.parametrize("as_tokens", [True, False])
def test_a_run_from_python_keeps_the_folder_of_its_tokenizer(
    make_predictor_trainer, train_windows, tiny_model, tmp_path, as_tokens
):
    tiny_model.save_pretrained(tmp_path / "tokenizer")
    loaded = KronosTokenizer.from_pretrained(tmp_path / "tokenizer")
    data = TokenWindowDataset(train_windows, loaded) if as_tokens else train_windows
    trainer = make_predictor_trainer(train=data, tokenizer=None if as_tokens else loaded)
    trainer.save_model(tmp_path / "model")
    found = find_model(str(tmp_path / "model"))
    assert found.tokenizer == str(tmp_path / "tokenizer")
    assert trained_with(tmp_path / "model")["tokenizer_sha256"] == weights_hash(loaded)


def test_a_tokenizer_that_was_trained_since_is_not_recorded_by_its_name(
    make_predictor_trainer, train_windows, tiny_model, tmp_path
):
    tiny_model.save_pretrained(tmp_path / "tokenizer")
    changed = KronosTokenizer.from_pretrained(tmp_path / "tokenizer")
    with torch.no_grad():
        next(changed.parameters()).add_(0.1)
    trainer = make_predictor_trainer(train=TokenWindowDataset(train_windows, changed))
    trainer.save_model(tmp_path / "model")
    assert trained_with(tmp_path / "model") == {"tokenizer": None, "tokenizer_sha256": weights_hash(changed)}
    with pytest.raises(ValueError, match="has no record of its tokenizer"):
        find_model(str(tmp_path / "model"))


def test_data_that_are_no_windows_are_refused(make_predictor_trainer, series, train_windows):
    with pytest.raises(ValueError, match="train_dataset is of type list; make a WindowDataset of the candles first"):
        make_predictor_trainer(train=[series])
    with pytest.raises(ValueError, match="a WindowDataset needs a tokenizer; pass tokenizer, or a TokenWindowDataset"):
        make_predictor_trainer().predict(train_windows)


def test_a_run_is_recorded(make_predictor_trainer):
    trainer = make_predictor_trainer(max_steps=2)
    trainer.train()
    record = json.loads((Path(trainer.args.output_dir) / "run.json").read_text())
    assert record["arguments"]["s1_conditioning"] == "true"
    assert record["status"] == "finished"
