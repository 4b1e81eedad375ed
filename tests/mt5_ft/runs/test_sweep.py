"""`mt5-ft sweep`: a whole search over tiny runs, and the settings that it may not change."""

import json

import pytest

from ft_core.sweep.plan import parse_sweep
from mt5_ft.cli.main import main
from mt5_ft.runs.sweep import mt5_stage

SPACE = "learning_rate: [1e-2, 1e-9]\n"


@pytest.fixture
def sweep(train, tmp_path):
    """A function that gives the words of a search."""

    def words(*more, space=SPACE):
        (tmp_path / "space.yaml").write_text(space)
        base = [str(word) for word in train.base]
        at = base.index("--learning_rate")
        base = base[:at] + base[at + 2 :]
        named = ["--space", tmp_path / "space.yaml", "--output_dir", tmp_path / "sweep"]
        return [str(word) for word in ("sweep", *base, *named, *more)]

    return words


def test_a_search_and_its_preset(sweep, tmp_path, capsys):
    words = sweep("--method", "grid", "--keep_models", "1")
    assert main(words) == 0
    record = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert [one["state"] for one in record["trials"]] == ["finished", "finished"]
    assert record["best"]["values"] == {"learning_rate": 1e-2}
    assert "test" not in record
    assert (tmp_path / "sweep" / "trials" / "0000" / "final" / "model.safetensors").is_file()
    assert not (tmp_path / "sweep" / "trials" / "0001" / "final").exists()
    assert not list(tmp_path.glob("sweep/trials/*/checkpoint-*"))
    best = ["train", "--config", str(tmp_path / "sweep" / "best.yaml"), "--output_dir", str(tmp_path / "again")]
    assert main(best) == 0
    again = json.loads((tmp_path / "again" / "training_metrics.json").read_text())
    assert again["validation_loss"]["best"] == record["best"]["objective"]
    assert main([*words, "--resume"]) == 0
    assert json.loads((tmp_path / "sweep" / "sweep.json").read_text())["trials"] == record["trials"]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("trim_vocab: [true, false]\n", "trim_vocab cannot be searched over: losses of different vocabularies"),
        (
            "validation_share: [0.1, 0.2]\n",
            "validation_share cannot be searched over: all trials must use the same",
        ),
        ("warmup_step: [0, 1]\n", "'warmup_step' is not a setting to search over; did you mean warmup_steps?"),
        ("optimizer: [adamw, sgd]\n", "space.yaml:1: optimizer=sgd is refused: optimizer='sgd' is not known"),
    ],
)
def test_spaces_that_are_refused(sweep, refused, tmp_path, space, message):
    refused(sweep(space=space), message)
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize(
    ("presets", "message", "equal"),
    [
        (
            "optimized, fast",
            "preset cannot be searched over: eval_steps is 2000 with optimized and 1000 with fast, and trials are "
            "pruned by comparing evaluation with evaluation; pass --eval_steps, --logging_steps, --trim_vocab for all "
            "trials",
            ["--trim_vocab", "true", "--eval_steps", "1000", "--logging_steps", "50"],
        ),
        (
            "fast, cpu",
            "model is google/mt5-base with fast and google/mt5-small with cpu, and losses of different vocabularies",
            ["--model", "google/mt5-small"],
        ),
        (
            "original, optimized",
            "eval_steps is 500 with original and 2000 with optimized, and trials are pruned by comparing evaluation "
            "with evaluation; pass --eval_steps, --logging_steps, --max_source_length, --max_target_length for all",
            [
                *("--eval_steps", "500", "--logging_steps", "50"),
                *("--max_source_length", "256", "--max_target_length", "64"),
            ],
        ),
        ("fast, best, 8gb", None, []),
    ],
)
def test_presets_over_one_vocabulary_alone_are_compared(tmp_path, presets, message, equal):
    (tmp_path / "space.yaml").write_text(f"preset: [{presets}]\n")
    words = ["--data", "sample", "--space", str(tmp_path / "space.yaml")]
    if message is not None:
        with pytest.raises(ValueError, match="preset cannot be searched over") as error:
            parse_sweep(mt5_stage(), words, "mt5-ft sweep")
        assert message in str(error.value)
        assert "\n" not in str(error.value)
    assert parse_sweep(mt5_stage(), [*words, *equal], "mt5-ft sweep").space[0].choices == tuple(presets.split(", "))
