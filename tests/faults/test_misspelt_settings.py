"""Family 28: names that are no setting, on the command line, in YAML, as preset, command or environment variable."""

import pytest

from kronos_ft.cli.main import main as kronos
from mt5_ft.cli.main import main as mt5
from tests.untrusted import files_of, refusal

pytestmark = pytest.mark.fault(28)

TRAINING = [(kronos, "tokenizer"), (kronos, "predictor"), (kronos, "finetune"), (mt5, "train")]
OTHERS = [(kronos, "forecast", ["--data", "sample"]), (kronos, "evaluate", ["--data", "sample"])]


@pytest.mark.parametrize(("main", "command"), TRAINING)
@pytest.mark.parametrize(
    ("word", "nearest"),
    [
        ("--lerning_rate", "learning_rate"),
        ("--max-step", "max_steps"),
        ("--outputdir", "output_dir"),
        ("--batch_sise", None),
        ("--qqqq", None),
        ("--learning", None),
    ],
)
def test_the_command_line(tmp_path, capsys, monkeypatch, main, command, word, nearest):
    monkeypatch.chdir(tmp_path)
    line = refusal(capsys, main, [command, "--data", "sample", word, "1"])
    assert f"{word.replace('-', '_').replace('__', '--')} is not a setting" in line
    assert nearest is None or f"did you mean {nearest}?" in line
    assert not files_of(tmp_path)


@pytest.mark.parametrize(("main", "command", "words"), OTHERS)
def test_other_commands_with_settings(capsys, main, command, words):
    assert "did you mean lookback?" in refusal(capsys, main, [command, *words, "--lokback", "3"])
    assert "--preset is not a setting of this command" in refusal(
        capsys, main, [command, *words, "--preset", "optimized"]
    )


@pytest.mark.parametrize(
    ("main", "words", "nearest"),
    [
        (kronos, ["data", "check", "sample", "--polcy", "drop"], "--polcy is not an option; did you mean --policy?"),
        (kronos, ["data", "check", "sample", "--pol", "drop"], "--pol is not an option; did you mean --policy?"),
        (kronos, ["data", "chek", "sample"], "data 'chek' is not an action; did you mean check?"),
        (kronos, ["push", "x", "me/y", "--priv"], "--priv is not an option; did you mean --private?"),
        (mt5, ["summarize", "--modle", "x"], "--modle is not an option; did you mean --model?"),
        (mt5, ["evaluate", "--prediction", "x"], "--prediction is not an option; did you mean --predictions?"),
        (mt5, ["subset", "x", "--dorp=0.5"], "--dorp is not an option; did you mean --drop?"),
        (mt5, ["restore", "x", "--forse"], "--forse is not an option; did you mean --force?"),
        (mt5, ["clean", "x", "--jess"], "--jess is not an option; see --help"),
        (
            mt5,
            ["evaluate", "--learning_rate", "1"],
            "--learning_rate is not an option; mt5-ft train, plan, sweep have it",
        ),
        (
            kronos,
            ["demo", "--time_budget", "2m"],
            "is not an option; kronos-ft finetune, tokenizer, predictor, quantiles have it",
        ),
        (
            kronos,
            ["forecast", "--warmup_steps", "1"],
            "is not a setting; kronos-ft finetune, tokenizer, predictor, quantiles have",
        ),
        (mt5, ["subset", "x", "y"], "unrecognized arguments: y"),
        (mt5, ["plan", "--compare", "original", "optimised", "--data", "sample"], "preset='optimised' is not known"),
    ],
)
def test_options(tmp_path, capsys, monkeypatch, main, words, nearest):
    monkeypatch.chdir(tmp_path)
    assert nearest in refusal(capsys, main, words)
    assert not files_of(tmp_path)


@pytest.mark.parametrize(("main", "command"), TRAINING)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lerning_rate: 1", "did you mean learning_rate?"),
        ("learning-rate: 1", "did you mean learning_rate?"),
        ("Learning_Rate: 1", "did you mean learning_rate?"),
        ("1: 2", "sets 1, which is not a name"),
        ("on: 2", "sets True, which is not a name"),
        ("null: 2", "sets None, which is not a name"),
        ("preset: optimised", "preset='optimised' is not known; use one of"),
        ("learning_rate: fast", "invalid float value: 'fast'"),
        ("learning_rate: {a: 1}", "a mapping; write it"),
        ("learning_rate: [[1]]", "a list of lists"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nlearning_rate: [*b, *b]", "is not a setting"),
        ("learning_rate: 2020-13-45", "is not valid YAML"),
        ("- learning_rate", "holds a list"),
        ("just text", "holds a str"),
        ("!!python/object/apply:os.mkdir [evil]", "is not valid YAML"),
        ("learning_rate: !!python/name:os.system", "recipe.yaml:1 is not valid YAML"),
        ("[" * 500, "recipe.yaml"),
        ("\x00", "is not valid YAML"),
        ("a: " + "x" * 2**20, "more than 1,048,576; pass a YAML file of settings"),
    ],
)
def test_yaml(tmp_path, capsys, monkeypatch, main, command, text, message):
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "recipe.yaml"
    config.write_text(text)
    line = refusal(capsys, main, [command, "--data", "sample", "--config", config])
    assert message in line
    assert len(line) < 600
    assert list(tmp_path.iterdir()) == [config]


@pytest.mark.parametrize(("main", "command"), TRAINING)
def test_values(tmp_path, capsys, monkeypatch, main, command):
    monkeypatch.chdir(tmp_path)
    for words, message in (
        (["--preset", "optimised"], "preset='optimised' is not known; use one of"),
        (["--policy", "dorp"], "policy='dorp' is not known; use one of error, drop"),
        (["--max_steps", "ten"], "invalid int value: 'ten'"),
        (["--eval_strategy", "stpes"], "stpes"),
        (["--config", "nowhere.yaml"], "nowhere.yaml does not exist"),
        (["--confg", "x.yaml"], "--confg is not a setting"),
    ):
        start = ["--model", "small" if main is mt5 else "tiny", "--from_scratch"]
        if command == "finetune":
            start += ["--tokenizer", "tiny"]
        assert message in refusal(capsys, main, [command, "--data", "sample", *start, *words]), words
        assert not files_of(tmp_path)


@pytest.mark.parametrize("main", [kronos, mt5])
def test_commands(capsys, main):
    for word, nearest in (("evalute", "evaluate"), ("Evaluate", "evaluate")):
        assert f"'{word}' is not a command; did you mean {nearest}?" in refusal(capsys, main, [word])
    assert "is not a command; use one of" in refusal(capsys, main, ["qqqq"])


@pytest.mark.parametrize("main", [kronos, mt5])
@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("KRONOS_FT_CAHCE", "KRONOS_FT_CACHE"),
        ("KRONOS_FT_MAX_UNPACK", "KRONOS_FT_MAX_UNPACKED"),
        ("KRONOS_FT_SPEDE", "KRONOS_FT_SPEED"),
        ("KRONOS_FT_TRACEBAK", "KRONOS_FT_TRACEBACK"),
    ],
)
def test_variables(capsys, monkeypatch, main, name, nearest):
    monkeypatch.setenv(name, "x")
    assert f"environment variable {name} is unknown; did you mean {nearest}?" in refusal(capsys, main, ["evaluate"])


@pytest.mark.parametrize("main", [kronos, mt5])
def test_variables_of_others(monkeypatch, main, capsys):
    monkeypatch.setenv("KRONOS_FT_OF_SOMEBODY_ELSE", "x")
    assert main(["--help"]) == 0
