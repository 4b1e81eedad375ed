"""The command line: help without torch, whole runs, and every kind of bad input in one line."""

import json
import subprocess
import sys

import pytest

from kronos_ft.cli.main import main
from kronos_ft.data.sources import simulate_candles
from kronos_ft.models.modeling_kronos import KronosTokenizer
from kronos_ft.training.presets import STAGE_PRESETS

SMALL = [
    "--model", "tiny", "--from_scratch", "--lookback_window", "20", "--predict_window", "4", "--max_steps", "4",
    "--eval_strategy", "steps", "--eval_steps", "2", "--save_strategy", "steps", "--save_steps", "2",
    "--logging_steps", "1", "--per_device_train_batch_size", "8",
]  # fmt: skip


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "btc.csv"
    simulate_candles(600).to_csv(path, index=False)
    return path


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run"


def refused(capsys, words, message):
    """One line on standard error, exit code 2."""
    assert main([str(word) for word in words]) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("kronos-ft: ")
    assert message in lines[0]
    assert "Traceback" not in captured.err


def test_help_imports_no_torch():
    code = "import sys; from kronos_ft.cli.main import main; main(['--help']); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "kronos-ft COMMAND [OPTIONS]" in done.stdout


def test_help_of_a_command_lists_every_setting(capsys):
    with pytest.raises(SystemExit) as done:
        main(["tokenizer", "--help"])
    assert done.value.code == 0
    text = capsys.readouterr().out
    for name in ("--lookback_window", "--pct_start", "--augment_noise", "--keep_best", "--config", "--learning_rate"):
        assert name in text


def test_a_whole_run_and_its_folder(csv, run, capsys, tmp_path):
    config = tmp_path / "recipe.yaml"
    config.write_text("learning_rate: 1e-3\nkeep_best: 1\n")
    assert main(["tokenizer", "--data", str(csv), "--output_dir", str(run), "--config", str(config), *SMALL]) == 0
    out = capsys.readouterr().out
    assert "eval_recon_all" in out
    assert out.rstrip().endswith(f"run folder         {run}")
    record = json.loads((run / "run.json").read_text())
    assert record["arguments"]["learning_rate"] == 1e-3
    assert record["data"]["fingerprint"]
    assert record["windows"]["train"] > 0
    assert KronosTokenizer.from_pretrained(run / "best_model").config.d_model == 32
    refused(capsys, ["tokenizer", "--data", csv, "--output_dir", run, *SMALL], "is not empty; pass --resume")
    assert main(["tokenizer", "--data", str(csv), "--output_dir", str(run), "--overwrite", *SMALL]) == 0
    again = ["tokenizer", "--data", str(csv), "--output_dir", str(run), "--resume", *SMALL]
    capsys.readouterr()
    assert main(again) == 0
    out = capsys.readouterr().out
    assert "trained            4 of 4 steps" in out
    (run / "training_metrics.json").unlink()  # killed between the last checkpoint and the end
    assert main(again) == 0
    assert "trained            4 of 4 steps" in capsys.readouterr().out
    assert json.loads((run / "training_metrics.json").read_text())["best"]["step"] in (2, 4)
    refused(
        capsys,
        [*again, "--seed", "7", "--learning_rate", "5e-3"],
        "cannot be resumed with other settings (seed: 42 -> 7; learn",
    )
    simulate_candles(600, seed=9).to_csv(csv, index=False)
    refused(capsys, again, "data.fingerprint")


def test_a_resume_keeps_the_preset_as_it_was_when_the_run_began(csv, run, capsys, monkeypatch):
    words = ["tokenizer", "--data", str(csv), "--output_dir", str(run), "--preset", "best", *SMALL]
    before = {"learning_rate": 5e-3, "weight_decay": 0.25}
    with monkeypatch.context() as earlier:
        earlier.setitem(STAGE_PRESETS["tokenizer"], "best", before)
        assert main(words) == 0
    (run / "training_metrics.json").unlink()  # killed before the end
    assert main([*words, "--resume"]) == 0
    arguments = json.loads((run / "run.json").read_text())["arguments"]
    assert {name: arguments[name] for name in before} == before
    capsys.readouterr()
    refused(capsys, [*words, "--resume", "--weight_decay", "0.5"], "weight_decay: 0.25 -> 0.5")
    refused(capsys, [*words, "--preset", "optimized", "--resume"], "weight_decay: 0.25 -> 0.05")


def test_optimized_preset_with_overrides(csv, run):
    words = ["--preset", "optimized", "--augment_scale", "false", *SMALL]
    assert main(["tokenizer", "--data", str(csv), "--output_dir", str(run), *words]) == 0
    record = json.loads((run / "run.json").read_text())
    assert record["arguments"]["weight_decay"] == 0.05
    assert record["augmentation"]["augment_noise"] is True
    assert record["augmentation"]["augment_scale"] is False


def test_dry_run_writes_nothing(csv, run, capsys):
    assert main(["tokenizer", "--data", str(csv), "--output_dir", str(run), "--dry_run", *SMALL]) == 0
    out = capsys.readouterr().out
    expected = (
        "windows of 25 bars",
        "22,160 parameters",
        "batch       8 windows",
        "steps       4 ",
        "time        about",
    )
    for word in expected:
        assert word in out
    assert not run.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--speed", "exact"], "blocks not compiled (compile_blocks no)"),
        (["--speed", "auto", "--compile_blocks", "no"], "blocks not compiled (compile_blocks no)"),
        (["--speed", "auto", "--use_cpu", "true"], "blocks not compiled (fewer than 50 steps)"),
        (["--speed", "auto", "--compile_blocks", "yes"], "(as asked)"),
    ],
)
def test_dry_run_says_whether_blocks_are_compiled(csv, run, capsys, words, said):
    assert main(["tokenizer", "--data", str(csv), "--output_dir", str(run), "--dry_run", *SMALL, *words]) == 0
    assert said in next(line for line in capsys.readouterr().out.splitlines() if line.startswith("time"))


def test_data_check(csv, capsys, tmp_path):
    assert main(["data", "check", str(csv)]) == 0
    assert "OK        under policy error" in capsys.readouterr().out
    table = simulate_candles(1500)
    table.loc[4, "close"] = -1
    table.to_csv(tmp_path / "bad.csv", index=False)
    assert main(["data", "check", str(tmp_path / "bad.csv")]) == 1
    assert "price zero or negative in 1 row (line 6)" in capsys.readouterr().out
    assert main(["data", "check", str(tmp_path / "bad.csv"), "--policy", "drop"]) == 0
    printed = capsys.readouterr().out
    assert "windows   945 to train on, 3 for validation (every 10 bars)" in printed
    assert "WARNING   for the quantile head, the validation split has 110 bars after an embargo of 115" in printed
    table.tail(700).to_csv(tmp_path / "short.csv", index=False)
    assert main(["data", "check", str(tmp_path / "short.csv")]) == 0
    printed = capsys.readouterr().out
    assert "WARNING   for training, the validation split has 4 bars after an embargo of 101" in printed
    assert "lookback_window + predict_window of at most 51" in printed
    short = [str(tmp_path / "short.csv"), "--lookback_window", "40", "--predict_window", "11"]
    assert main(["data", "check", *short]) == 0
    assert "1 for validation" in capsys.readouterr().out
    capsys.readouterr()
    refused(capsys, ["data", "check", tmp_path / "none.csv"], "none.csv does not exist")


def write(path, text):
    path.write_text(text)
    return path


@pytest.fixture
def bad_data(request, tmp_path):
    table = simulate_candles(600)
    path = tmp_path / "bad.csv"
    kind = request.param
    if kind == "missing":
        return path
    if kind == "empty":
        return write(path, "")
    if kind == "header only":
        return write(path, "timestamps,open,high,low,close,volume\n")
    if kind == "unknown columns":
        return write(path, "when,first,second\n1,2,3\n")
    if kind == "short":
        table = table.head(20)
    if kind == "no validation window":
        table = table.head(100)
    if kind == "constant":
        table[["open", "high", "low", "close"]] = 7.0
    if kind == "defect":
        table.loc[3, "high"] = 0.5
    table.to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("bad_data", "message"),
    [
        ("missing", "bad.csv does not exist; correct the path"),
        ("empty", "bad.csv is empty; pass a file with a header line and candles"),
        ("header only", "bad.csv has only a header line; pass a file with candles"),
        ("unknown columns", "no column found for time, open, high, low, close (columns: when, first, second)"),
        ("short", "the train split has 14 bars, too few for a window of 25 (lookback 20 + horizon 4 + 1)"),
        ("no validation window", "the validation split has 0 bars after an embargo of 25, too few for a window of 25"),
        ("constant", "the close is constant at 7"),
        (
            "defect",
            "low or high contradicts open and close in 1 row (line 5); correct the data, or set the policy to drop",
        ),
    ],
    indirect=["bad_data"],
)
def test_bad_data(bad_data, message, run, capsys):
    refused(capsys, ["tokenizer", "--data", bad_data, "--output_dir", run, *SMALL], message)
    assert not run.exists()


def test_bad_settings(csv, run, capsys, tmp_path):
    start = ["tokenizer", "--data", csv, "--output_dir", run, *SMALL]
    for words, message in (
        (["--lerning_rate", "1"], "--lerning_rate is not a setting; did you mean learning_rate?"),
        (["--preset", "optimised"], "preset='optimised' is not known; use one of baseline, optimized"),
        (["--fp16"], "mixed_precision=fp16 has no effect on a CPU"),
        (["--expected_world_size", "2"], "expected_world_size=2 but 1 process run"),
        (["--policy", "guess"], "policy='guess' is not known"),
        (["--lookback_window", "1"], "lookback=1 is too small"),
        (["--split_dates", "2020-01-10", "2020-01-12", "--split_ratios", "0.5", "0.3", "0.2"], "exclude each other"),
        (["--split_ratios", "0.9", "0.2", "0.1"], "must be three shares with sum 1"),
        (["--model", "huge"], "size='huge' is not a tokenizer size"),
        (["--resume", "--overwrite"], "exclude each other"),
        (["--config", str(tmp_path / "none.yaml")], "none.yaml does not exist; pass a YAML file of settings"),
        (["--output_dir", str(csv)], "btc.csv is a file; choose a folder"),
        (["--metric_for_best_model", "eval_foo"], "metric_for_best_model='eval_foo' is not evaluated; use one of"),
        (["--dataloader_drop_last"], "dataloader_drop_last=True would drop windows from the evaluation"),
        (["--report_to", "wandb"], "wandb"),
        (["--gradient_checkpointing"], "gradient_checkpointing=True has no effect here: Kronos models are small"),
        (["--clip", "nan"], "clip=nan is not positive"),
        (["--split_ratios", "nan", "0.5", "0.5"], "must be three shares with sum 1"),
        (["--per_device_train_batch_size", "500"], "an optimizer step needs 500 windows"),
        (["--output_dir", "/proc/nowhere/run"], "output_dir=/proc/nowhere/run cannot be written"),
    ):
        refused(capsys, [*start, *words], message)
        assert not run.exists(), words
    refused(capsys, ["tokenizer", "--output_dir", run], "data is not set; pass --data FILE")
    assert main(["data"]) == 2
    assert "kronos-ft data download" in capsys.readouterr().out
    refused(capsys, ["data", "check"], "the following arguments are required: source; see --help")
    refused(capsys, ["data", "check", csv, "--policy", "guess"], "argument --policy: invalid choice: 'guess'")
    refused(capsys, ["data", "check", csv, "--lookback_window", "-200"], "are too small")
    refused(capsys, ["tokenzier"], "'tokenzier' is not a command; did you mean tokenizer?")


def test_a_diverged_run_stops_and_saves_nothing_of_it(csv, run, capsys):
    words = ["tokenizer", "--data", csv, "--output_dir", run, *SMALL, "--learning_rate", "1e12", "--max_grad_norm", "0"]
    assert main([str(word) for word in words]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "the loss or its gradient was not finite in steps 2 to 4 (max_bad_steps=3)" in error
    assert "every sample is affected, so the weights have diverged: lower learning_rate" in error
    assert not (run / "best_model").exists()
    assert not list(run.glob("checkpoint-*"))
    for line in (run / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))


def test_bad_models(csv, run, capsys, tmp_path, tiny_model):
    start = ["tokenizer", "--data", csv, "--output_dir", run, "--lookback_window", "20", "--predict_window", "4"]
    folder = tmp_path / "model"
    tiny_model.save_pretrained(folder)
    capsys.readouterr()
    config = json.loads((folder / "config.json").read_text())
    write(folder / "config.json", json.dumps({**config, "group_size": 3}))
    refused(capsys, [*start, "--model", folder], "group_size=3 does not divide s1_bits + s2_bits = 10")
    write(folder / "config.json", json.dumps({"model_type": "gpt2"}))
    refused(capsys, [*start, "--model", folder], "is not a KronosTokenizer: its config.json lacks d_in")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(capsys, [*start, "--model", folder], "contains only pickled weights (pytorch_model.bin)")
    refused(capsys, [*start, "--model", "tiny"], "model=tiny has no published weights; pass --from_scratch")
    refused(capsys, [*start, "--model", "base"], "or start from random weights (--from_scratch)")
    assert not run.exists()


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["forecast", "--model", "small"], "pass a folder with the model"),
        (["evaluate", "--model", "small", "--output_dir", "{run}"], "pass a folder with the model"),
        (["predictor", "--model", "small", "--output_dir", "{run}"], "or start from random weights (--from_scratch)"),
        (["predictor", "--model", "some/one", "--tokenizer", "base", "--output_dir", "{run}"], "with the model"),
    ],
)
def test_without_the_hub_a_command_names_only_its_own_options(words, hint, run, capsys):
    assert main([*(word.format(run=run) for word in words), "--data", "sample"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert (
        "it is not in the local cache; connect, set HF_ENDPOINT to a mirror, or pass a folder with the model" in error
    )
    assert error.endswith(hint)
