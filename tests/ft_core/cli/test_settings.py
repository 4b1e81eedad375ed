"""Preset, YAML file and command line, in that order, and what is refused."""

from dataclasses import dataclass, field

import pytest
from transformers import TrainingArguments

from ft_core.cli.settings import parse_settings


@dataclass
class Recipe:
    preset: str = "plain"
    learning_rate: float = field(default=1.0, metadata={"help": "rate"})
    shares: list[float] = field(default_factory=lambda: [0.5, 0.5])
    augment: bool = False
    name: str | None = None

    def __post_init__(self):
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate={self.learning_rate} is not positive")


PRESETS = {"plain": {}, "strong": {"learning_rate": 2e-4, "augment": True, "shares": [0.6, 0.4]}}


def parse(*words):
    return parse_settings((Recipe,), words, presets=PRESETS, default_preset="plain", program="test")[0]


def test_precedence(tmp_path):
    assert parse() == Recipe()
    assert parse("--preset", "strong") == Recipe("strong", 2e-4, [0.6, 0.4], True)
    config = tmp_path / "c.yaml"
    config.write_text("learning_rate: 3e-4\nshares: [0.7, 0.3]\n")
    assert parse("--preset=strong", "--config", str(config)) == Recipe("strong", 3e-4, [0.7, 0.3], True)
    found = parse("--config", str(config), "--preset", "strong", "--learning_rate", "5e-5", "--augment", "false")
    assert found == Recipe("strong", 5e-5, [0.7, 0.3], False)


def test_a_preset_named_in_the_file(tmp_path):
    (tmp_path / "c.yaml").write_text("preset: strong\naugment: false\nname:\n")
    assert parse("--config", str(tmp_path / "c.yaml")) == Recipe("strong", 2e-4, [0.6, 0.4], False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--lerning_rate", "1"], "--lerning_rate is not a setting; did you mean learning_rate?"),
        (["--qqqq", "1"], "--qqqq is not a setting; see --help for all names"),
        (["--learn", "1"], "--learn is not a setting"),
        (["stray"], "'stray' is not expected here"),
        (["--preset", "best"], "preset='best' is not known; use one of plain, strong"),
        (["--learning_rate", "fast"], "argument --learning_rate.*invalid float value: 'fast'"),
        (["--learning_rate", "-1"], r"learning_rate=-1.0 is not positive"),
        (["--preset"], "--preset needs a value; see --help"),
    ],
)
@pytest.mark.fault(28)
def test_misspelt_settings(words, message):
    with pytest.raises(ValueError, match=message) as error:
        parse(*words)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lerning_rate: 1", "config file .* sets 'lerning_rate', which is not a setting; did you mean learning_rate?"),
        ("learning_rate: [1", r"c.yaml:\d is not valid YAML"),
        ("- 1", "holds a list; write `name: value` lines"),
        ("name: {a: 1}", "sets name to a mapping"),
        ("learning_rate: fast", "invalid float value: 'fast'"),
        ("name: !!python/object/apply:os.system ['true']", "c.yaml:1 is not valid YAML"),
    ],
)
@pytest.mark.fault(28)
def test_files_that_are_refused(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        parse("--config", str(tmp_path / "c.yaml"))
    assert "\n" not in str(error.value)


def test_list_items_of_a_file_are_values_and_never_options(tmp_path):
    (tmp_path / "c.yaml").write_text("name: [--shares]\nlearning_rate: 0.5\n")
    found = parse("--config", str(tmp_path / "c.yaml"))
    assert (found.name, found.learning_rate) == ("--shares", 0.5)


def test_a_missing_file():
    with pytest.raises(ValueError, match=r"^nowhere\.yaml does not exist; pass a YAML file of settings as config"):
        parse("--config", "nowhere.yaml")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            [],
            [
                "rate (default: 1.0)",
                "--preset NAME (default: plain)",
                "--shares VALUE [VALUE ...] (default: 0.5 0.5)",
                "--augment [true|false]",
            ],
        ),
        (
            ["--preset", "strong"],
            [
                "rate (preset strong: 0.0002)",
                "--preset NAME (here: strong)",
                "(preset strong: 0.6 0.4)",
                "(preset strong: true)",
            ],
        ),
    ],
)
def test_help_tells_the_value_that_a_setting_has_when_it_is_not_given(words, expected, capsys):
    with pytest.raises(SystemExit):
        parse(*words, "--help")
    said = " ".join(capsys.readouterr().out.split())
    assert all(part in said for part in expected)
    assert "--name NAME" in said  # which has no default
    assert "--no_" not in said


def test_help_has_own_settings_before_inherited_ones(capsys):
    @dataclass
    class Chosen:
        preset: str = "plain"

    @dataclass
    class Inherits(TrainingArguments):
        resume: bool = False

    with pytest.raises(SystemExit):
        parse_settings((Chosen, Inherits), ["--help"], presets={"plain": {}}, default_preset="plain", program="train")
    out = capsys.readouterr().out
    assert out.startswith("usage: train [--config FILE.yaml] [--NAME VALUE ...]")
    places = [out.index(f"\n  --{name} ") for name in ("config", "preset", "resume", "dataloader_num_workers")]
    assert places == sorted(places)
    assert out.count("\n  --resume ") == 1
