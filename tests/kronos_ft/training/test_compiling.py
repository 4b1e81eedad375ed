"""Speed: what is chosen and when, that a resume keeps it, and that it ends where the exact path ends."""

import copy
import dataclasses
import json
import logging
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from ft_core.checkpoints.manifest import read_manifest
from kronos_ft.models.configuration_kronos import KronosConfig
from kronos_ft.models.modeling_kronos import Kronos
from kronos_ft.training import compiling, numerics
from kronos_ft.training.arguments import KronosTokenizerArguments
from kronos_ft.training.compiling import CompileTimes, pays, timed_step
from kronos_ft.training.numerics import choose_compile, choose_numerics, has_native_bf16


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


@pytest.fixture
def other_bits(monkeypatch):
    """A compiler whose programs give other last bits, as real ones do; how often it was asked for."""
    asked = []

    def compile_it(function, **kwargs):
        asked.append(1)
        return lambda *args: function(*args) * (1 + 1e-6)

    monkeypatch.setattr(torch, "compile", compile_it)
    monkeypatch.setattr(compiling, "programs_made", lambda: (len(asked), len(asked)))
    return asked


@pytest.fixture
def dropping_predictor():
    torch.manual_seed(2)
    config = KronosConfig.from_size("tiny")
    config.update({f"{name}_dropout_p": 0.2 for name in ("ffn", "attn", "resid", "token")})
    return Kronos(config)


class Killed(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        raise MemoryError


def weights(trainer):
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def assert_equal(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


# Choices


def test_products_are_bf16_only_where_native(monkeypatch):
    monkeypatch.setattr(numerics, "has_native_bf16", lambda device: device == "native")
    assert choose_numerics("auto", "auto", False, "native") == "bf16"
    assert choose_numerics("auto", "auto", False, "cpu") == "fp32"
    assert choose_numerics("auto", "exact", False, "native") == "exact"
    assert choose_numerics("auto", "auto", True, "native") == "fp32"  # autocast takes care of them
    assert choose_numerics("bf16", "auto", False, "cpu") == "bf16"
    assert choose_numerics("fp32", "auto", False, "native") == "fp32"


def test_settings_can_be_copied(monkeypatch):
    monkeypatch.setattr(numerics, "has_native_bf16", lambda device: True)
    args = KronosTokenizerArguments(use_cpu=True, speed="auto")
    assert args.numerics == "bf16"
    assert dataclasses.replace(args, exact=True).numerics == "exact"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"speed": "fast"}, "speed='fast' is not known"),
        ({"products": "fp8"}, "products='fp8' is not known"),
        ({"products": "bf16", "exact": True}, "exclude each other"),
        ({"products": "bf16", "speed": "auto", "bf16": True}, "exclude each other"),
        ({"compile_blocks": "maybe"}, "compile_blocks='maybe' is not known"),
        ({"compile_blocks": "yes", "exact": True}, "exclude each other"),
        ({"torch_compile": True}, "set compile_blocks to yes"),
    ],
)
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        KronosTokenizerArguments(use_cpu=True, **settings)


def test_exact_is_a_short_form():
    args = KronosTokenizerArguments(use_cpu=True, speed="auto", exact=True)
    assert (args.speed, args.numerics) == ("exact", "exact")


def test_the_environment_sets_a_default(monkeypatch):
    monkeypatch.delenv(numerics.SPEED_VARIABLE)
    assert KronosTokenizerArguments(use_cpu=True).speed == "auto"
    monkeypatch.setenv(numerics.SPEED_VARIABLE, "exact")
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
    assert times.expected() == compiling.UNKNOWN_SECONDS
    times.note(70.0, cold=True)
    assert times.expected() == 70.0  # the programs are not there
    times.programs.mkdir()
    (times.programs / "program").touch()
    assert times.expected() == compiling.UNKNOWN_WARM_SECONDS
    times.note(4.0, cold=False)
    assert times.expected() == 4.0
    assert CompileTimes("b", tmp_path).expected() == 70.0  # another model of this machine, never seen
    (tmp_path / compiling.TIMES_FILE).write_text("[broken")
    assert times.expected() == compiling.UNKNOWN_SECONDS


# Runs


def test_a_timed_step_leaves_no_trace(make_trainer):
    trainer = make_trainer(speed="auto")
    before, state = weights(trainer), torch.random.get_rng_state()
    assert timed_step(trainer) > 0
    assert torch.equal(torch.random.get_rng_state(), state)
    assert_equal(before, weights(trainer))
    assert all(p.grad is None for p in trainer.model.parameters())
    assert trainer.meter.is_empty


@pytest.mark.thorough
def test_compiled_training_is_the_plain_one(make_trainer, tmp_path, plain_compiler):
    plain = make_trainer(output=tmp_path / "plain")
    plain.train()
    compiled = make_trainer(output=tmp_path / "compiled", speed="auto", compile_blocks="yes")
    compiled.train()
    assert plain_compiler
    assert compiled.compiled
    assert not plain.compiled
    pickle.dumps(compiled.model)  # the model that is left is a plain one
    for before, now in zip(plain.state.log_history, compiled.state.log_history, strict=True):
        if "eval_loss" in before:
            assert now["eval_loss"] == pytest.approx(before["eval_loss"], rel=1e-4)


def test_auto_compiles_only_a_long_run(make_trainer, tmp_path, other_bits, monkeypatch):
    short = make_trainer(output=tmp_path / "short", speed="auto")
    short.train()
    assert not other_bits
    assert not short.compiled
    monkeypatch.setattr(compiling, "LEAST_STEPS", 2)
    real = compiling.timed_step
    monkeypatch.setattr(compiling, "timed_step", lambda trainer, passes=2: 1e6 + real(trainer, passes))
    long = make_trainer(output=tmp_path / "long", speed="auto", compile_blocks="auto")
    long.train()
    assert other_bits
    assert long.compiled


def refuses(function, **kwargs):
    raise RuntimeError("no C++ compiler found\nand much more")


def fails_at_once(function, **kwargs):
    return lambda *args: refuses(function)


def fails_later(function, **kwargs):
    from torch._dynamo.exc import Unsupported

    calls = []

    def run(*args):
        calls.append(1)
        if len(calls) > 12:
            raise Unsupported("no C++ compiler found\nand much more")
        return function(*args)

    return run


@pytest.mark.parametrize("broken", [refuses, fails_at_once, fails_later])
def test_a_compiler_that_fails_is_no_fault(broken, make_trainer, monkeypatch, caplog):
    made = []
    monkeypatch.setattr(torch, "compile", broken)
    monkeypatch.setattr(compiling, "programs_made", lambda: made.append(1) or (len(made), 0))
    trainer = make_trainer(speed="auto", compile_blocks="yes")
    with caplog.at_level(logging.WARNING):
        monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
        trainer.train()
    assert trainer.state.global_step == 6
    assert not trainer.compiled
    assert caplog.text.count("no C++ compiler found") == 1
    assert "and much more" not in caplog.text


def test_what_was_not_compiled_is_not_said_to_be(make_trainer, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **kwargs: function)
    monkeypatch.setattr(compiling, "programs_made", lambda: (7, 7))
    trainer = make_trainer(speed="auto", compile_blocks="yes")
    trainer.train()
    assert not trainer.compiled


@pytest.mark.thorough
def test_many_shapes_in_one_process_are_all_compiled(make_trainer, tmp_path, plain_compiler):
    """More programs of one function than torch makes before it stops to compile."""
    for batch in range(2, 5):
        trainer = make_trainer(
            output=tmp_path / str(batch), speed="auto", compile_blocks="yes", per_device_train_batch_size=batch,
            max_steps=1, save_strategy="no", eval_strategy="no", load_best_model_at_end=False,
        )  # fmt: skip
        before = compiling.programs_made()
        with torch._dynamo.config.patch(recompile_limit=4):
            trainer.train()
        assert trainer.compiled
        assert compiling.programs_made()[0] == before[0] + 2  # encoder and decoder


def test_the_choice_is_said_once(make_trainer, tmp_path, capsys, other_bits):
    make_trainer(output=tmp_path / "a", speed="auto").train()
    assert capsys.readouterr().err.count("speed: fp32 numerics on cpu, blocks not compiled (fewer than 50 steps)") == 1
    make_trainer(output=tmp_path / "b", speed="auto", compile_blocks="yes").train()
    assert "blocks compiled (as asked)" in capsys.readouterr().err
    make_trainer(output=tmp_path / "c", speed="exact").train()
    assert "speed:" not in capsys.readouterr().err


def test_a_resumed_run_is_compiled_as_it_was(make_trainer, tmp_path, other_bits, monkeypatch):
    settings = {"speed": "auto", "products": "bf16", "compile_blocks": "auto"}
    monkeypatch.setattr(compiling, "LEAST_STEPS", 2)
    monkeypatch.setattr(compiling, "pays", lambda *args: True)
    whole = make_trainer(output=tmp_path / "whole", **settings)
    whole.train()
    cut = make_trainer(output=tmp_path / "cut", callbacks=[StopAfter(3)], **settings)
    cut.train()
    assert read_manifest(tmp_path / "cut" / "checkpoint-3")["compiled"] is True
    monkeypatch.setattr(compiling, "pays", lambda *args: False)  # as fewer steps are left
    with pytest.raises(ValueError, match="was started with compiled blocks; results would differ in the last bits"):
        make_trainer(output=tmp_path / "cut", resume=True, **settings | {"compile_blocks": "no"}).train()
    shutil.copytree(tmp_path / "cut", tmp_path / "forced")
    resumed = make_trainer(output=tmp_path / "cut", resume=True, **settings)
    resumed.train()
    assert resumed.compiled
    end = load_file(tmp_path / "whole" / "checkpoint-6" / "model.safetensors")
    assert_equal(end, load_file(tmp_path / "cut" / "checkpoint-6" / "model.safetensors"))
    make_trainer(output=tmp_path / "forced", resume_force=True, **settings | {"compile_blocks": "no"}).train()
    forced = load_file(tmp_path / "forced" / "checkpoint-6" / "model.safetensors")
    assert any(not torch.equal(end[name], forced[name]) for name in end)


def test_a_run_killed_before_its_first_checkpoint_is_compiled_as_it_was(make_trainer, other_bits, monkeypatch):
    settings = {"speed": "auto", "compile_blocks": "auto"}
    monkeypatch.setattr(compiling, "LEAST_STEPS", 2)
    monkeypatch.setattr(compiling, "pays", lambda *args: True)
    with pytest.raises(MemoryError):
        make_trainer(callbacks=[Killed()], **settings).train()
    monkeypatch.setattr(compiling, "pays", lambda *args: False)
    again = make_trainer(resume=True, **settings)
    again.train()
    assert again.compiled


@pytest.mark.parametrize("conditioning", [pytest.param("true", marks=pytest.mark.thorough), "sampled"])
def test_a_fast_predictor_run_resumes_to_the_same_bits(
    make_predictor_trainer, tmp_path, conditioning, dropping_predictor
):
    settings = {
        "speed": "auto", "products": "bf16", "s1_conditioning": conditioning, "model": dropping_predictor
    }  # fmt: skip
    make_predictor_trainer(output=tmp_path / "whole", **settings).train()
    make_predictor_trainer(output=tmp_path / "cut", callbacks=[StopAfter(3)], **settings).train()
    make_predictor_trainer(output=tmp_path / "cut", resume=True, **settings).train()
    assert_equal(
        load_file(tmp_path / "whole" / "checkpoint-6" / "model.safetensors"),
        load_file(tmp_path / "cut" / "checkpoint-6" / "model.safetensors"),
    )


def test_other_products_are_another_run(make_trainer):
    make_trainer(callbacks=[StopAfter(3)], speed="auto", products="fp32").train()
    with pytest.raises(ValueError, match="numerics: fp32 -> bf16"):
        make_trainer(resume=True, speed="auto", products="bf16").train()


@pytest.mark.parametrize("known", [True, False])
def test_auto_goes_on_with_what_the_run_was_begun_with(make_trainer, tmp_path, known, monkeypatch, caplog):
    """On another machine, or after a version of this library that had no choice."""
    begun = {"speed": "auto", "products": "bf16"} if known else {"speed": "exact"}
    make_trainer(output=tmp_path / "whole", **begun).train()
    make_trainer(output=tmp_path / "cut", callbacks=[StopAfter(3)], **begun).train()
    if not known:
        path = tmp_path / "cut" / "run.json"
        record = json.loads(path.read_text())
        del record["arguments"]["numerics"]
        path.write_text(json.dumps(record))
        manifest = read_manifest(tmp_path / "cut" / "checkpoint-3")
        del manifest["settings"]["numerics"]
        for module in ("kronos_ft.training.window_trainer", "ft_core.training.recorded_trainer"):
            monkeypatch.setattr(f"{module}.read_manifest", lambda path: copy.deepcopy(manifest))
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    make_trainer(output=tmp_path / "cut", resume=True, speed="auto").train()
    assert f"continuing with {'bf16' if known else 'exact'} numerics, as at the start of the run" in caplog.text
    assert ("emulates bf16, which is much slower" in caplog.text) == (known and not has_native_bf16("cpu"))
    assert_equal(
        load_file(tmp_path / "whole" / "checkpoint-6" / "model.safetensors"),
        load_file(tmp_path / "cut" / "checkpoint-6" / "model.safetensors"),
    )


def test_adapters_train_on_half_precision_products(make_predictor_trainer, tmp_path):
    trainer = make_predictor_trainer(speed="auto", products="bf16", lora=True, lora_r=2)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 6
    assert all(loss == loss for loss in losses)


def test_the_choice_is_on_record(make_trainer, tmp_path):
    make_trainer(speed="auto", products="bf16").train()
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["arguments"]["speed"], record["arguments"]["numerics"]) == ("auto", "bf16")
    assert record["compiled"] is False


@pytest.mark.parametrize(("value", "more"), [("turbo", {}), ("exact", {"products": "bf16"})])
def test_a_refusal_names_the_variable_that_it_comes_from(value, more, monkeypatch, tmp_path):
    monkeypatch.setenv("KRONOS_FT_SPEED", value)
    with pytest.raises(ValueError, match=rf"\(KRONOS_FT_SPEED={value} is set in the environment\)"):
        KronosTokenizerArguments(output_dir=str(tmp_path), **more)
