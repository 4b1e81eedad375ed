"""What a model's name stands for: every kind of folder and name, and each mistake in one line."""

import json
import shutil

import pytest

from kronos_ft.models.found_model import FoundModel, find_model
from kronos_ft.models.pairing import FORECASTER_FILE, PAIRING_FILE, read_forecaster, write_forecaster


@pytest.fixture
def alone(finetuned, tmp_path):
    """The model folder of a run, copied to another place."""
    return shutil.copytree(finetuned.folder / "predictor" / "best_model", tmp_path / "model")


def test_a_run_of_both_stages(finetuned):
    found = find_model(str(finetuned.folder))
    assert found.model == str(finetuned.folder / "predictor" / "best_model")
    assert found.tokenizer == str(finetuned.folder / "tokenizer")
    assert found.run == finetuned.folder
    assert found.steps() == 2
    assert found.data_settings()["data"] == finetuned.data
    assert not found.is_overridden
    assert find_model(str(finetuned.folder), "elsewhere").tokenizer == "elsewhere"
    assert find_model(str(finetuned.folder), "elsewhere").is_overridden


def test_a_predictor_run_names_its_tokenizer(finetuned):
    found = find_model(str(finetuned.folder / "predictor"))
    assert found.tokenizer == str(finetuned.folder / "tokenizer" / "best_model")
    assert found.run == finetuned.folder / "predictor"


def test_a_model_folder(finetuned, alone):
    inside = find_model(str(finetuned.folder / "predictor" / "best_model"))
    assert (inside.run, inside.steps()) == (None, 2)
    (alone / PAIRING_FILE).unlink()
    found = find_model(str(alone))  # forecaster.json names the tokenizer too
    assert found.tokenizer == str(finetuned.folder / "tokenizer" / "best_model")
    assert found.data_settings() == {}
    (alone / FORECASTER_FILE).unlink()
    found = find_model(str(alone), "base")
    assert (found.model, found.tokenizer, found.trained_lookback) == (str(alone), "base", None)
    with pytest.raises(ValueError, match="has no record of its tokenizer; pass --tokenizer DIR"):
        find_model(str(alone))


def test_every_way_to_name_a_run_finds_its_window(finetuned, alone):
    """From `forecaster.json` beside the weights, or, for a model of an earlier version, from the run's record."""
    assert read_forecaster(alone)["lookback"] == 20
    run = shutil.copytree(finetuned.folder, alone.parent / "earlier")
    (run / "predictor" / "best_model" / FORECASTER_FILE).unlink()
    for place in (finetuned.folder, finetuned.folder / "predictor", alone, run, run / "predictor" / "best_model"):
        found = find_model(str(place))
        assert (found.lookback(), found.horizon(), found.max_context()) == (20, 4, 512)
        assert (found.lookback(30), found.horizon(7), found.max_context(64)) == (30, 7, 64)
        assert found.sampling() == {"T": 1.0, "top_p": 1.0, "top_k": 0}


def test_a_moved_run_keeps_its_tokenizer_beside_it(finetuned, tmp_path):
    moved = shutil.copytree(finetuned.folder, tmp_path / "moved")
    for file in (PAIRING_FILE, FORECASTER_FILE):
        path = moved / "predictor" / "best_model" / file
        path.write_text(json.dumps({**json.loads(path.read_text()), "tokenizer": "runs/gone/tokenizer/best_model/x"}))
    for place in (moved / "predictor", moved / "predictor" / "best_model"):
        assert find_model(str(place)).tokenizer == str(moved / "tokenizer")


def test_defaults_of_models_without_a_record():
    mini, small = find_model("mini"), find_model("NeoQuasar/Kronos-small")
    assert (mini.tokenizer, small.tokenizer) == ("2k", "base")
    assert (mini.lookback(), mini.horizon(), mini.trained_lookback) == (400, 24, None)
    assert (mini.max_context(), small.max_context()) == (2048, 512)
    assert mini.context_remark(90) is None


def test_a_long_window_widens_the_context():
    assert FoundModel("m", "m", "t", forecaster={"lookback": 700, "horizon": 60}).max_context() == 760


def test_another_context_is_told_with_both_lengths(finetuned):
    found = find_model(str(finetuned.folder))
    assert found.context_remark(20) is None
    assert f"lookback=400 differs from the 20 bars of context that {finetuned.folder} was trained" in (
        found.context_remark(400)
    )


def test_a_longer_horizon_is_told_with_both_lengths(finetuned):
    found = find_model(str(finetuned.folder))
    assert found.long_horizon_remark(found.trained_horizon) is None
    assert f"horizon=9 exceeds the 4 bars ahead that {finetuned.folder} was trained for" in found.long_horizon_remark(9)
    assert find_model("mini").long_horizon_remark(500) is None
    assert FoundModel("m", "m", "t", forecaster={"horizon": 4}, is_head=True).long_horizon_remark(9) is None  # an error


def test_another_time_zone_than_in_training_is_told():
    model = FoundModel("m", "m", "t", record={"data": {"timezone": "Asia/Shanghai"}})
    assert model.timezone_remark("Asia/Shanghai") is None
    assert model.timezone_remark("America/New_York") is None  # of another market
    assert model.timezone_remark("UTC").endswith("if the file has local times, pass --timezone Asia/Shanghai")
    assert FoundModel("m", "m", "t").timezone_remark("UTC") is None


def test_sampling_is_as_calibrated_unless_asked_otherwise(alone):
    write_forecaster(alone, {"T": 0.8, "top_p": 0.95, "predictor_sha256": "a" * 64})
    found = find_model(str(alone))
    assert found.sampling() == {"T": 0.8, "top_p": 0.95, "top_k": 0}
    assert found.sampling(T=0.0, top_p=None, top_k=3) == {"T": 0.0, "top_p": 0.95, "top_k": 3}
    assert found.lookback() == 20  # the other fields are kept
    found.check_calibration("a" * 64)
    with pytest.raises(ValueError, match=r"was calibrated for other weights .*; calibrate again"):
        found.check_calibration("b" * 64)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON"),
        ('{"lookback": 1}', "has an invalid value of lookback: expected int"),
        ('{"T": NaN}', "has an invalid value of T: expected float"),
        ('{"top_p": 2}', "has an invalid value of top_p: expected float"),
        ('{"tokenizer": 3}', "has an invalid value of tokenizer: expected str"),
    ],
)
def test_a_damaged_forecaster_file(alone, content, message):
    (alone / FORECASTER_FILE).write_text(content)
    with pytest.raises(ValueError, match=rf"forecaster.json {message}.*; restore or remove the file"):
        find_model(str(alone))


def test_models_of_the_hub(hub, alone, tmp_path):
    """Their files name tokenizer and window; a repository cannot choose a folder of this machine."""

    def push(name, **changes):
        write_forecaster(alone, changes)
        files = {path.name: path.read_bytes() for path in alone.iterdir() if path.name != PAIRING_FILE}
        hub.create(name, files=files)

    push("me/one", tokenizer="me/tokenizer")
    push("me/two", tokenizer=None)
    push("me/three", tokenizer=str(tmp_path))
    found = find_model("me/one")
    assert (found.model, found.tokenizer, found.lookback(), found.horizon()) == ("me/one", "me/tokenizer", 20, 4)
    assert find_model("me/one@main", "base").tokenizer == "base"
    with pytest.raises(ValueError, match="me/two is a Hub model without a record of its tokenizer; pass --tokenizer"):
        find_model("me/two")
    assert find_model("me/two", "me/tokenizer").lookback() == 20
    with pytest.raises(ValueError, match=r"me/three names the tokenizer .*, which is not on the Hub; pass --tokenizer"):
        find_model("me/three")
    with pytest.raises(ValueError, match="is not a folder or a Hub repository that you can read"):
        find_model("me/none")


def test_without_a_connection_the_tokenizer_must_be_given():
    assert find_model("somebody/else", "base").lookback() == 400
    with pytest.raises(ConnectionError, match="cannot reach the Hub for somebody/else"):
        find_model("somebody/else")


def test_a_tokenizer_that_is_gone(alone, tmp_path):
    write_forecaster(alone, {"tokenizer": str(tmp_path / "gone")})
    with pytest.raises(ValueError, match=r"gone of .* does not exist; pass --tokenizer DIR"):
        find_model(str(alone))


def test_what_is_no_model(finetuned, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    (tmp_path / "unfinished").mkdir()
    shutil.copytree(finetuned.folder / "tokenizer", tmp_path / "unfinished" / "tokenizer")
    for name, message in {
        str(tmp_path / "nowhere"): "does not exist; pass a run folder, a model folder, or mini, small, base",
        finetuned.data: "is a file; pass a run folder or a model folder",
        str(tmp_path / "empty"): "is not a model folder or a run folder",
        str(tmp_path / "broken"): "config.json is not valid JSON",
        str(tmp_path / "unfinished"): "has no finished predictor",
        str(finetuned.folder / "tokenizer"): "contains a tokenizer, not a predictor; pass a predictor's run",
    }.items():
        with pytest.raises(ValueError, match=message):
            find_model(name)
