"""Family 25: a predictor and a tokenizer that do not belong together are refused or warned of, with both named."""

import json
import shutil

import pytest

from kronos_ft.cli.main import main as kronos
from kronos_ft.forecasting.predictor import KronosPredictor
from kronos_ft.models.configuration_kronos import KronosConfig, KronosTokenizerConfig
from kronos_ft.models.identity import weights_hash
from kronos_ft.models.modeling_kronos import Kronos, KronosTokenizer
from kronos_ft.models.pairing import PAIRING_FILE, mismatch, trained_with
from mt5_ft.models.loading import load_model, load_tokenizer
from tests.untrusted import refusal

pytestmark = pytest.mark.fault(25)


@pytest.fixture
def trained(made, csv, tmp_path):
    """The run folder of a predictor that was trained with `tokenizer`."""
    run = tmp_path / "run"
    words = [
        *("predictor", "--data", csv, "--model", "tiny", "--from_scratch", "--tokenizer", made / "tokenizer"),
        *("--lookback_window", 20, "--predict_window", 4, "--max_steps", 1, "--eval_strategy", "steps"),
        *("--eval_steps", 1, "--save_strategy", "steps", "--save_steps", 1, "--logging_steps", 1, "--output_dir", run),
    ]
    assert kronos([str(word) for word in words]) == 0
    return run


def forecast(data, model, tokenizer):
    words = ["forecast", "--data", data, "--model", model, "--tokenizer", tokenizer]
    return kronos([str(word) for word in (*words, *["--lookback", "20", "--horizon", "2", "--num_paths", "2"])])


def test_other_weights_are_warned_of(trained, made, csv, tmp_path, capsys):
    other = weights_hash(KronosTokenizer.from_pretrained(made / "other"))
    own = weights_hash(KronosTokenizer.from_pretrained(made / "tokenizer"))
    moved = shutil.copytree(trained / "best_model", tmp_path / "moved")
    for model in (trained, trained / "best_model", moved):
        capsys.readouterr()
        assert forecast(csv, model, made / "tokenizer") == 0
        assert "WARNING" not in capsys.readouterr().out
        assert forecast(csv, model, made / "other") == 0
        (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("WARNING")]
        assert f"was trained with tokenizer {made / 'tokenizer'} (weights {own[:16]})" in line
        assert f"not with {made / 'other'} (weights {other[:16]})" in line
    (trained / "best_model" / PAIRING_FILE).unlink()  # as earlier versions wrote it: the run's record has it too
    assert forecast(csv, trained, made / "other") == 0
    assert "was trained with tokenizer" in capsys.readouterr().out


def test_an_evaluation_says_it_in_its_report(trained, made, csv, tmp_path, capsys):
    words = [
        "evaluate",
        "--data",
        csv,
        "--model",
        trained,
        "--tokenizer",
        made / "other",
        "--output_dir",
        tmp_path / "out",
    ]
    words += ["--lookback", 30, "--horizon", 3, "--step", 6, "--num_paths", 3]
    assert kronos([str(word) for word in words]) == 0
    assert "was trained with tokenizer" in capsys.readouterr().out
    assert "WARNING: predictor" in (tmp_path / "out" / "evaluation.md").read_text("utf-8")
    warnings = json.loads((tmp_path / "out" / "evaluation.json").read_text("utf-8"))["warnings"]
    assert "its forecasts are meaningless" in warnings[0]


def test_published_pairs():
    assert "pass --tokenizer 2k" in mismatch("mini", "base", "")
    assert "pass --tokenizer base" in mismatch("NeoQuasar/Kronos-small", "NeoQuasar/Kronos-Tokenizer-2k", "")
    for pair in (("mini", "2k"), ("small", "base"), ("base", "base"), ("small", "runs/mine"), ("mine", "2k")):
        assert mismatch(*pair, "") is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"tokenizer_sha256": 3}', "{" * 99, "[" * 100_000])
def test_a_damaged_note_says_nothing(tmp_path, content):
    folder = tmp_path / "run" / "best_model"
    folder.mkdir(parents=True)
    (folder / PAIRING_FILE).write_text(content)
    assert trained_with(folder) == {}
    (folder.parent / "run.json").write_text(content)
    assert trained_with(folder) == {}


@pytest.mark.parametrize("name", ["s1_bits", "s2_bits"])
def test_other_bits_are_refused(made, csv, tmp_path, capsys, name):
    size = {**KronosConfig.from_size("tiny").to_dict(), name: 6}
    Kronos(KronosConfig(**size)).save_pretrained(tmp_path / "six")
    words = ["--data", csv, "--model", tmp_path / "six", "--tokenizer", made / "tokenizer"]
    line = refusal(capsys, kronos, ["forecast", *words, "--lookback", 30])
    assert f"the model has {name}=6, but the tokenizer has {name}=5" in line
    for stage in ("predictor", "finetune"):
        line = refusal(capsys, kronos, [stage, *words, "--lookback_window", 20, "--output_dir", tmp_path / "run"])
        assert f"the tokenizer has {name}=5 but the predictor {name}=6" in line
    assert not (tmp_path / "run").exists()


def test_bits_in_python():
    wide = KronosTokenizer(
        KronosTokenizerConfig(**{**KronosTokenizerConfig.from_size("tiny").to_dict(), "s1_bits": 10})
    )
    with pytest.raises(ValueError, match="the model has s1_bits=5, but the tokenizer has s1_bits=10"):
        KronosPredictor(Kronos(KronosConfig.from_size("tiny")), wide, device="cpu")


def test_exchanged_folders(made, csv, capsys):
    words = ["forecast", "--data", csv, "--lookback", 30, "--model"]
    line = refusal(capsys, kronos, [*words, made / "tokenizer", "--tokenizer", made / "predictor"])
    assert "contains a tokenizer, not a predictor" in line
    line = refusal(capsys, kronos, [*words, made / "mt5", "--tokenizer", made / "tokenizer"])
    assert "is not a Kronos: its config.json lacks s1_bits (it describes: mt5)" in line


def test_an_mt5_tokenizer_of_a_larger_vocabulary(made, copied):
    folder = copied("mt5")
    tokenizer = load_tokenizer(str(folder))
    tokenizer.add_tokens([f"new{number}" for number in range(500)])
    with pytest.raises(
        ValueError, match=r"the tokenizer has \d+ pieces, but .* has \d+ embeddings; pass the model's tokenizer"
    ):
        load_model(str(folder), tokenizer)
    with pytest.raises(ValueError, match="cannot be loaded"):
        load_tokenizer(str(made / "predictor"))
