"""Speed: what is chosen and when, that a resume keeps it, and that it ends where the exact path ends."""

import json
import logging

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

import kronos_ft.training.speed as speed
from ft_core.manifest import read_manifest
from kronos_ft.training.arguments import KronosTokenizerArguments
from kronos_ft.training.speed import CompileTimes, choose_compile, choose_products, pays, timed_step


class StopAfter(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_save(self, args, state, control, **kwargs):
        control.should_training_stop |= state.global_step >= self.step


@pytest.fixture
def plain_compiler(monkeypatch):
    """Compiling as it is, but for the part that takes a minute; how often it was asked for."""
    real, asked = torch.compile, []
    monkeypatch.setattr(torch, "compile", lambda f, **kw: asked.append(1) or real(f, backend="aot_eager", **kw))
    return asked


def weights(trainer):
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def assert_equal(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


# Choices


def test_products_are_bf16_only_where_native(monkeypatch):
    monkeypatch.setattr(speed, "has_native_bf16", lambda device: device == "native")
    assert choose_products("auto", "auto", False, "native") == "bf16"
    assert choose_products("auto", "auto", False, "cpu") == "fp32"
    assert choose_products("auto", "exact", False, "native") == "fp32"
    assert choose_products("auto", "auto", True, "native") == "fp32"  # autocast takes care of them
    assert choose_products("bf16", "auto", False, "cpu") == "bf16"
    assert choose_products("fp32", "auto", False, "native") == "fp32"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"speed": "fast"}, "speed='fast' is not known"),
        ({"products": "fp8"}, "products='fp8' is not known"),
        ({"products": "bf16", "exact": True}, "exclude each other"),
        ({"products": "bf16", "speed": "auto", "bf16": True}, "exclude each other"),
        ({"compile_blocks": "maybe"}, "compile_blocks='maybe' is not known"),
        ({"compile_blocks": "yes", "exact": True}, "exclude each other"),
    ],
)
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        KronosTokenizerArguments(use_cpu=True, **settings)


def test_exact_is_a_short_form():
    args = KronosTokenizerArguments(use_cpu=True, speed="auto", exact=True)
    assert (args.speed, args.products, args.compile_blocks) == ("exact", "fp32", "no")


def test_the_environment_sets_a_default(monkeypatch):
    monkeypatch.delenv(speed.SPEED_VARIABLE)
    assert KronosTokenizerArguments(use_cpu=True).speed == "auto"
    monkeypatch.setenv(speed.SPEED_VARIABLE, "exact")
    assert KronosTokenizerArguments(use_cpu=True).speed == "exact"


@pytest.mark.parametrize(("wanted", "word"), [(True, "yes"), ("No", "no"), ("auto", "auto"), (False, "no")])
def test_words_for_compiling(wanted, word):
    assert choose_compile(wanted, "auto") == word


def test_a_short_run_is_not_compiled():
    assert not pays(steps=60, step_seconds=1.0, gain=0.15, compile_seconds=60)
    assert pays(steps=2000, step_seconds=1.0, gain=0.15, compile_seconds=60)
    assert not pays(steps=10**6, step_seconds=1.0, gain=0.0, compile_seconds=0.1)


def test_measured_times_are_kept(tmp_path):
    times = CompileTimes("a", tmp_path)
    assert times.expected() == speed.UNKNOWN_SECONDS
    times.note(12.0)
    assert times.expected() == 12.0
    assert CompileTimes("b", tmp_path).expected() == 12.0  # another model of this machine
    (tmp_path / speed.TIMES_FILE).write_text("[broken")
    assert times.expected() == speed.UNKNOWN_SECONDS


# Runs


def test_a_timed_step_leaves_no_trace(make_trainer):
    trainer = make_trainer(speed="auto")
    before, state = weights(trainer), torch.random.get_rng_state()
    assert timed_step(trainer) > 0
    assert torch.equal(torch.random.get_rng_state(), state)
    assert_equal(before, weights(trainer))
    assert all(p.grad is None for p in trainer.model.parameters())
    assert trainer.meter.is_empty


def test_compiled_training_is_the_plain_one(make_trainer, tmp_path, plain_compiler):
    plain = make_trainer(output=tmp_path / "plain")
    plain.train()
    compiled = make_trainer(output=tmp_path / "compiled", speed="auto", compile_blocks="yes")
    compiled.train()
    assert plain_compiler
    assert compiled.compiled
    assert not plain.compiled
    for before, now in zip(plain.state.log_history, compiled.state.log_history, strict=True):
        if "eval_loss" in before:
            assert now["eval_loss"] == pytest.approx(before["eval_loss"], rel=1e-4)


def test_auto_compiles_only_a_long_run(make_trainer, tmp_path, plain_compiler, monkeypatch):
    short = make_trainer(output=tmp_path / "short", speed="auto")
    short.train()
    assert not plain_compiler
    assert not short.compiled
    monkeypatch.setattr(speed, "LEAST_STEPS", 2)
    monkeypatch.setattr(speed, "timed_step", lambda trainer: 1e6)
    long = make_trainer(output=tmp_path / "long", speed="auto", compile_blocks="auto")
    long.train()
    assert plain_compiler
    assert long.compiled


def test_a_compiler_that_fails_is_no_fault(make_trainer, monkeypatch, caplog):
    def broken(function, **kwargs):
        def fail(*args):
            raise RuntimeError("no C++ compiler found\nand much more")

        return fail

    monkeypatch.setattr(torch, "compile", broken)
    trainer = make_trainer(speed="auto", compile_blocks="yes")
    with caplog.at_level(logging.WARNING):
        monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
        trainer.train()
    assert trainer.state.global_step == 6
    assert not trainer.compiled
    assert "no C++ compiler found" in caplog.text
    assert "and much more" not in caplog.text


def test_a_resumed_run_is_compiled_as_it_was(make_trainer, tmp_path, plain_compiler, monkeypatch):
    settings = {"speed": "auto", "products": "bf16", "compile_blocks": "auto"}
    monkeypatch.setattr(speed, "LEAST_STEPS", 2)
    monkeypatch.setattr(speed, "pays", lambda *args: True)
    whole = make_trainer(output=tmp_path / "whole", **settings)
    whole.train()
    cut = make_trainer(output=tmp_path / "cut", callbacks=[StopAfter(3)], **settings)
    cut.train()
    assert read_manifest(tmp_path / "cut" / "checkpoint-3")["compiled"] is True
    monkeypatch.setattr(speed, "pays", lambda *args: False)  # as fewer steps are left
    resumed = make_trainer(output=tmp_path / "cut", resume=True, **settings)
    resumed.train()
    assert resumed.compiled
    assert_equal(
        load_file(tmp_path / "whole" / "checkpoint-6" / "model.safetensors"),
        load_file(tmp_path / "cut" / "checkpoint-6" / "model.safetensors"),
    )


def test_a_run_killed_before_its_first_checkpoint_is_compiled_as_it_was(make_trainer, plain_compiler, monkeypatch):
    class Killed(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            raise MemoryError

    settings = {"speed": "auto", "compile_blocks": "auto"}
    monkeypatch.setattr(speed, "LEAST_STEPS", 2)
    monkeypatch.setattr(speed, "pays", lambda *args: True)
    with pytest.raises(MemoryError):
        make_trainer(callbacks=[Killed()], **settings).train()
    monkeypatch.setattr(speed, "pays", lambda *args: False)
    again = make_trainer(resume=True, **settings)
    again.train()
    assert again.compiled


@pytest.mark.parametrize("conditioning", ["true", "sampled"])
def test_a_fast_predictor_run_resumes_to_the_same_bits(make_predictor_trainer, tmp_path, conditioning):
    settings = {"speed": "auto", "products": "bf16", "s1_conditioning": conditioning}
    make_predictor_trainer(output=tmp_path / "whole", **settings).train()
    make_predictor_trainer(output=tmp_path / "cut", callbacks=[StopAfter(3)], **settings).train()
    make_predictor_trainer(output=tmp_path / "cut", resume=True, **settings).train()
    assert_equal(
        load_file(tmp_path / "whole" / "checkpoint-6" / "model.safetensors"),
        load_file(tmp_path / "cut" / "checkpoint-6" / "model.safetensors"),
    )


def test_other_products_are_another_run(make_trainer, tmp_path):
    make_trainer(callbacks=[StopAfter(3)], speed="auto", products="fp32").train()
    with pytest.raises(ValueError, match="products: fp32 -> bf16"):
        make_trainer(resume=True, speed="auto", products="bf16").train()


def test_adapters_train_on_half_precision_products(make_predictor_trainer, tmp_path):
    trainer = make_predictor_trainer(speed="auto", products="bf16", lora=True, lora_r=2)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 6
    assert all(loss == loss for loss in losses)


def test_the_choice_is_on_record(make_trainer, tmp_path):
    make_trainer(speed="auto", products="bf16").train()
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["arguments"]["speed"], record["arguments"]["products"]) == ("auto", "bf16")
    assert record["compiled"] is False
