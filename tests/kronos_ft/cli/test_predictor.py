"""`kronos-ft predictor` and `kronos-ft finetune`: whole runs, resume, adapters, and bad input in one line."""

import json
import shutil

import pytest
import torch

from ft_core.training.budget.remembered import FILE
from kronos_ft.cli.main import main
from kronos_ft.data.sources import simulate_candles
from kronos_ft.models.configuration_kronos import KronosConfig
from kronos_ft.models.modeling_kronos import Kronos, KronosTokenizer
from kronos_ft.runs.both import parse_finetune
from kronos_ft.runs.start import named_tokenizer
from kronos_ft.training.predictor_arguments import PredictorModelArguments

WINDOW = ["--lookback_window", "20", "--predict_window", "4", "--logging_steps", "1"]
STEPS = [
    "--max_steps", "4", "--eval_strategy", "steps", "--eval_steps", "2", "--save_strategy", "steps",
    "--save_steps", "2", "--per_device_train_batch_size", "8",
]  # fmt: skip
SCRATCH = ["--model", "tiny", "--from_scratch"]


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "btc.csv"
    simulate_candles(600).to_csv(path, index=False)
    return path


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def tokenizer(tiny_model, tmp_path):
    path = tmp_path / "tokenizer"
    tiny_model.save_pretrained(path)
    return path


@pytest.fixture
def words(csv, run, tokenizer):
    """A predictor run up to what is told about the model."""
    return ["predictor", "--data", str(csv), "--output_dir", str(run), "--tokenizer", str(tokenizer), *WINDOW, *STEPS]


def refused(capsys, words, message):
    """One line on standard error, exit code 2."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("kronos-ft: ")
    assert message in lines[0]


def record_of(run):
    return json.loads((run / "run.json").read_text())


def test_help_of_the_predictor_lists_every_setting(capsys):
    with pytest.raises(SystemExit) as done:
        main(["predictor", "--help"])
    assert done.value.code == 0
    text = capsys.readouterr().out
    for name in ("--s1_conditioning", "--eval_like_published", "--rotate_sibling", "--lora_merge", "--token_cache",
                 "--tokenizer", "--symbol_weighting", "--embargo", "--lookback_window", "--keep_best"):  # fmt: skip
        assert name in text


def test_tokens_of_a_run_shorter_than_an_epoch_are_made_step_by_step(words, run, capsys, tmp_path):
    assert main([*words, *SCRATCH]) == 0
    captured = capsys.readouterr()
    assert "train: tokenised" not in captured.err
    assert "validation: tokenised windows" in captured.err
    one = json.loads((run / "training_metrics.json").read_text())["train"]["loss"]
    words[words.index(str(run))] = str(tmp_path / "whole")
    more = ["--stride", "1", "--max_steps", "50", "--eval_steps", "50", "--save_steps", "50"]
    assert main([*words, *SCRATCH, *more]) == 0
    assert "train: tokenised windows 396 of 396" in capsys.readouterr().err
    other = json.loads((tmp_path / "whole" / "training_metrics.json").read_text())["train"]["loss"]
    assert one["first"] == pytest.approx(other["first"], rel=1e-6)


def test_a_whole_run_and_its_folder(words, run, capsys, tmp_path, tiny_model):
    words += ["--stride", "13"]
    assert main([*words, *SCRATCH]) == 0
    captured = capsys.readouterr()
    assert "tokenizer   5 + 5 bits" in captured.out
    assert "embargo     25 bars left out" in captured.out
    assert "eval_loss" in captured.out
    assert "train: tokenised windows 31 of 31" in captured.err
    assert captured.out.rstrip().endswith(f"run folder         {run}")
    record = record_of(run)
    assert record["stage"] == "predictor"
    assert len(record["model"]["tokenizer_sha256"]) == 64
    assert record["data"]["embargo"] == 25
    assert record["config"]["rotate_sibling"] is True
    assert record["arguments"]["learning_rate"] == 4e-5
    model = Kronos.from_pretrained(run / "best_model")
    assert model.config.rotate_sibling
    assert {"loss_curves.png", "training_metrics.json", "metrics.jsonl"} <= {path.name for path in run.iterdir()}
    again = [*words, *SCRATCH, "--resume"]
    assert main(again) == 0
    captured = capsys.readouterr()
    assert "is already finished: there is nothing left to train" in captured.out
    assert "tokenised" not in captured.err  # cached
    refused(capsys, [*again, "--s1_conditioning", "sampled"], "cannot be resumed with other settings (s1_conditioning")
    torch.manual_seed(8)
    KronosTokenizer(tiny_model.config).save_pretrained(tmp_path / "tokenizer")
    capsys.readouterr()
    assert main(again) == 2
    assert "model.tokenizer_sha256" in capsys.readouterr().err.splitlines()[-1]


def test_published_weights_keep_their_rotation_unless_asked(words, run, tiny_predictor, tmp_path):
    """A folder without the key `rotate_sibling`, as published."""
    folder = tmp_path / "published"
    tiny_predictor.save_pretrained(folder)
    config = {key: getattr(tiny_predictor.config, key) for key in KronosConfig.published_keys()}
    (folder / "config.json").write_text(json.dumps(config))
    start = [*words, "--model", str(folder), "--overwrite"]
    for more, expected in (([], False), (["--rotate_sibling", "true"], True)):
        assert main([*start, *more]) == 0
        assert Kronos.from_pretrained(run / "best_model").config.rotate_sibling is expected
    assert main([*words, *SCRATCH, "--overwrite", "--s1_conditioning", "sampled"]) == 0
    assert Kronos.from_pretrained(run / "best_model").config.rotate_sibling is False


def test_adapters_alone_or_merged(words, run, tiny_predictor, tmp_path, capsys):
    folder = tmp_path / "base"
    tiny_predictor.save_pretrained(folder)
    start = [*words, "--model", str(folder), "--lora", "--lora_r", "4", "--learning_rate", "1e-2"]
    models = {}
    for name, more in (("alone", []), ("merged", ["--lora_merge"])):
        capsys.readouterr()
        assert main([*start, *more, "--output_dir", str(tmp_path / name)]) == 0
        assert "5,376 of them trained" in capsys.readouterr().out
        best = tmp_path / name / "best_model"
        assert (best / "model.safetensors").is_file() is (name == "merged")
        models[name] = Kronos.from_pretrained(best).state_dict()
    for key, value in models["alone"].items():
        torch.testing.assert_close(models["merged"][key], value, rtol=1e-5, atol=1e-6)
    trained = tiny_predictor.state_dict()
    assert not torch.equal(
        models["merged"]["dep_layer.cross_attn.q_proj.weight"], trained["dep_layer.cross_attn.q_proj.weight"]
    )
    assert torch.equal(models["merged"]["head.proj_s1.weight"], trained["head.proj_s1.weight"])


def test_optimized_preset_augments_step_by_step(words, run, capsys):
    assert main([*words, *SCRATCH, "--preset", "optimized", "--token_cache", "false", "--eval_like_published"]) == 0
    captured = capsys.readouterr()
    assert "train: tokenised" not in captured.err
    assert "published_loss" in captured.out
    record = record_of(run)
    assert record["arguments"]["learning_rate"] == 2e-5
    assert record["augmentation"]["augment_noise"] is True


def test_dry_run_writes_nothing(words, run, capsys, tmp_path):
    assert main([*words, *SCRATCH, "--dry_run"]) == 0
    out = capsys.readouterr().out
    for word in ("windows of 25 bars", "35,744 parameters", "steps       4 ", "time        about"):
        assert word in out
    assert not run.exists()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [FILE]  # what a step costs, no tokens


def test_bad_predictor_settings(words, run, capsys, tmp_path, tiny_predictor, tokenizer):
    wide = tmp_path / "wide"
    Kronos(KronosConfig(**{**tiny_predictor.config.to_dict(), "s1_bits": 6})).save_pretrained(wide)
    for more, message in (
        (["--model", wide], "the tokenizer has s1_bits=5 but the predictor s1_bits=6; pass the tokenizer that the"),
        (["--model", tokenizer], "is not a Kronos: its config.json lacks n_layers"),
        ([*SCRATCH, "--tokenizer", wide], "is not a KronosTokenizer: its config.json lacks d_in"),
        ([*SCRATCH, "--tokenizer", "base"], "cannot reach the Hub for NeoQuasar/Kronos-Tokenizer-base"),
        (["--model", "tiny"], "model=tiny has no published weights; pass --from_scratch, or use mini, small, base"),
        (["--model", "large"], "model=large has no published weights"),
        (["--model", "small"], "or start from random weights (--from_scratch)"),
        (["--model", "huge", "--from_scratch"], "size='huge' is not a predictor size"),
        ([*SCRATCH, "--lora"], "lora=True with from_scratch=True would train adapters on random weights"),
        ([*SCRATCH, "--lora_merge"], "lora_merge=True has no effect without lora=True"),
        ([*SCRATCH, "--s1_conditioning", "false"], "s1_conditioning='false' is not known; use one of true, sampled"),
        ([*SCRATCH, "--symbol_weighting", "equal"], "symbol_weighting='equal' is not known"),
        (
            [*SCRATCH, "--lookback_window", "600"],
            "lookback_window=600 + predict_window=4 exceed the 512 bars of context",
        ),
        ([*SCRATCH, "--embargo", "-1"], "embargo=-1 is negative"),
        ([*SCRATCH, "--metric_for_best_model", "recon_all"], "metric_for_best_model='recon_all' is not evaluated"),
        ([*SCRATCH, "--lora_alfa", "3"], "--lora_alfa is not a setting; did you mean lora_alpha?"),
    ):
        refused(capsys, [*words, *more], message)
        assert not run.exists(), more


def test_the_tokenizer_of_a_size():
    for size, expected in (("mini", "2k"), ("small", "base"), ("base", "base"), ("some/folder", "base")):
        assert named_tokenizer(PredictorModelArguments(model=size)) == expected


# Both stages


BOTH = ["finetune", "--tokenizer", "tiny", *SCRATCH, *WINDOW, *STEPS]


@pytest.fixture
def both(csv, run):
    return [*BOTH, "--data", str(csv), "--output_dir", str(run)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of both stages that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    simulate_candles(600).to_csv(folder / "btc.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KRONOS_FT_CACHE", str(folder / "cache"))
        assert main([*BOTH, "--data", str(folder / "btc.csv"), "--output_dir", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture
def finished(whole, run):
    """The folder of the test holds a copy of it."""
    shutil.copytree(whole, run)


def test_both_stages_in_one_folder(both, run, capsys):
    more = ["--predictor_max_steps", "6", "--tokenizer_learning_rate", "1e-3", "--predictor_learning_rate=1e-2"]
    assert main([*both, *more]) == 0
    out = capsys.readouterr().out
    assert "stage 1 of 2: tokenizer" in out
    assert out.rstrip().endswith(f"run folder         {run / 'predictor'}")
    tokenizer, predictor = record_of(run / "tokenizer"), record_of(run / "predictor")
    assert (tokenizer["max_steps"], predictor["max_steps"]) == (4, 6)
    assert (tokenizer["arguments"]["learning_rate"], predictor["arguments"]["learning_rate"]) == (1e-3, 1e-2)
    assert predictor["model"]["tokenizer"] == str(run / "tokenizer" / "best_model")
    assert tokenizer["data"]["embargo"] == predictor["data"]["embargo"] == 25
    refused(capsys, [*both, *more], "is not empty; pass --resume")


class Killed(KeyboardInterrupt):
    pass


@pytest.mark.parametrize("stage", ["tokenizer", "predictor"])
def test_a_resume_goes_on_in_the_stage_that_was_interrupted(both, whole, run, capsys, tmp_path, stage, monkeypatch):
    from ft_core.runs.record import RunRecorder

    original = RunRecorder.on_save

    def kill(self, args, state, control, **kwargs):
        original(self, args, state, control, **kwargs)
        if args.output_dir.endswith(stage) and state.global_step == 2:
            raise Killed

    monkeypatch.setattr(RunRecorder, "on_save", kill)
    assert main(both) == 130
    monkeypatch.undo()
    monkeypatch.setenv("KRONOS_FT_CACHE", str(tmp_path / "cache"))
    stamps = {path: path.stat().st_mtime_ns for path in (run / "tokenizer").rglob("*.safetensors")}
    capsys.readouterr()
    assert main([*both, "--resume"]) == 0
    captured = capsys.readouterr()
    assert ("is already finished" in captured.out) is (stage == "predictor")
    assert f"validation at step 0: {'recon_all' if stage == 'tokenizer' else 'loss'}" not in captured.err
    if stage == "predictor":
        assert stamps == {path: path.stat().st_mtime_ns for path in (run / "tokenizer").rglob("*.safetensors")}
    for name, cls in (("tokenizer", KronosTokenizer), ("predictor", Kronos)):
        one, other = (cls.from_pretrained(folder / name / "best_model") for folder in (run, whole))
        for found, expected in zip(one.parameters(), other.parameters(), strict=True):
            assert torch.equal(found, expected)


def test_overwriting_replaces_both_stages(both, finished, run):
    assert main([*both, "--overwrite", "--seed", "5"]) == 0
    assert record_of(run / "predictor")["arguments"]["seed"] == 5


def test_overwriting_with_bad_input_leaves_both_stages(both, finished, run, capsys, tmp_path):
    before = {path: path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()}
    words = [*both, "--overwrite"]
    words[words.index("--data") + 1] = str(tmp_path / "missing.csv")
    assert main(words) == 2
    assert "missing.csv" in capsys.readouterr().err.splitlines()[-1]
    assert {path: path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()} == before


def test_a_dry_run_of_both_writes_nothing(both, run, capsys):
    assert main([*both, "--dry_run"]) == 0
    out = capsys.readouterr().out
    assert out.count("time        about") == 2
    assert not run.exists()


def test_settings_of_both_and_of_one_stage(tmp_path):
    config = tmp_path / "recipe.yaml"
    config.write_text("learning_rate: 1e-3\npredictor_max_steps: 9\ntokenizer_model: 2k\nuse_cpu: true\n")
    settings = parse_finetune(
        ["--config", str(config), "--predictor_learning_rate", "5e-4", "--data", "sample", "--max_steps=7",
         "--split_ratios", "0.6", "0.2", "0.2", "--lora", "--preset", "optimized", "--predictor_preset", "baseline",
         "--run_name", "first"]
    )  # fmt: skip
    (t_model, t_data, t_augmentation, t_args), (p_model, p_data, p_augmentation, p_args) = (
        settings.tokenizer,
        settings.predictor,
    )
    assert (t_args.learning_rate, p_args.learning_rate) == (1e-3, 5e-4)
    assert (t_args.max_steps, p_args.max_steps) == (7, 9)
    assert (t_model.model, p_model.model) == ("2k", "small")
    assert t_data.split_ratios == p_data.split_ratios == [0.6, 0.2, 0.2]
    assert p_args.lora
    assert (t_model.preset, p_model.preset) == ("optimized", "baseline")
    assert (t_augmentation.augment_noise, p_augmentation.augment_noise) == (True, False)
    assert (t_args.output_dir, p_args.output_dir) == ("runs/finetune/tokenizer", "runs/finetune/predictor")
    assert (t_args.run_name, p_args.run_name) == ("first-tokenizer", "first-predictor")


def test_bad_settings_of_both(both, run, capsys, tiny_predictor, tmp_path):
    wide = tmp_path / "wide"
    Kronos(KronosConfig(**{**tiny_predictor.config.to_dict(), "s1_bits": 6})).save_pretrained(wide)
    for more, message in (
        (
            ["--predictor_lerning_rate", "1"],
            "--predictor_lerning_rate is not a setting of the predictor stage; did you",
        ),
        (["--tokenizer_lora", "true"], "--tokenizer_lora is not a setting of the tokenizer stage"),
        (["--tokenizer_output_dir", "x"], "--tokenizer_output_dir is not a setting of the tokenizer stage"),
        (["--lerning_rate", "1"], "--lerning_rate is not a setting; did you mean learning_rate?"),
        (["--config", tmp_path / "none.yaml"], "none.yaml does not exist"),
        (["--resume", "--overwrite"], "exclude each other"),
        (["--model", wide, "--predictor_from_scratch", "false"], "the tokenizer has s1_bits=5 but the predictor s1_b"),
        (["--model", "huge"], "size='huge' is not a predictor size"),
        (["--tokenizer", "huge"], "size='huge' is not a tokenizer size"),
        (["--preset", "finest"], "preset='finest' is not known"),
        (["--max_steps", "many"], "invalid int value: 'many'"),
        (["--lookback_window", "600"], "exceed the 512 bars of context"),
        (["--data", tmp_path / "none.csv"], "none.csv does not exist"),
    ):
        refused(capsys, [*both, *more], message)
        assert not run.exists(), more
    refused(capsys, ["finetune", "--data", "x.csv", "oops", "--lora"], "'oops' is not expected here")
    refused(capsys, ["finetune", "oops"], "'oops' is not expected here; write settings as --name value")
    assert main(["finetune", "--help"]) == 0
    assert "--predictor_NAME VALUE" in capsys.readouterr().out
