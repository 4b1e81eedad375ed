"""What a space may hold, and the one line on what it may not."""

from dataclasses import replace

import pytest

from ft_core.sweep.plan import parse_sweep
from ft_core.sweep.space import grid_points, read_space
from tests.sweep_stage import toy_stage


@pytest.fixture
def plan(tmp_path):
    """A function that plans a search over a space."""

    def make(text, *words):
        path = tmp_path / "space.yaml"
        path.write_text(text)
        return parse_sweep(toy_stage(), ["--space", str(path), *map(str, words)], "toy sweep")

    return make


def test_values_have_the_types_of_their_settings(plan):
    space = plan(
        "learning_rate: {low: 1e-5, high: 1, log: true}\nlayers: {low: 2, high: 8, step: 2}\nnoise: [true, false]\n"
        "weight_decay: [0, 1e-2]\nkind: [a, 7]\n"
    ).space
    rate, layers, noise, decay, kind = space
    assert (rate.low, rate.high, rate.log) == (1e-5, 1.0, True)
    assert isinstance(rate.high, float)
    assert layers.extremes == (2, 8)
    assert noise.choices == (True, False)
    assert decay.choices == (0.0, 0.01)
    assert isinstance(decay.choices[0], float)
    assert kind.choices == ("a", "7")


def test_settings_of_a_trial_and_of_all(plan, tmp_path):
    made = plan("learning_rate: [1e-4, 1e-3]\n", "--weight_decay", 0.2, "--noise", "--shares", 0.7, 0.3)
    (args,) = made.settings(tmp_path / "t", {"learning_rate": 1e-4})
    assert (args.learning_rate, args.weight_decay, args.noise, args.shares) == (1e-4, 0.2, True, [0.7, 0.3])
    assert args.output_dir == str(tmp_path / "t")
    assert made.trials == 20
    assert plan("preset: [plain, strong]\n", "--method", "grid").trials == 2
    (strong,) = made.settings(tmp_path / "t", {"preset": "strong"})
    assert strong.weight_decay == 0.2  # given for all trials


def test_the_objective_and_its_direction(plan):
    made = plan("layers: [1, 2]\n", "--objective", "eval_accuracy", "--greater_is_better", "true")
    assert (made.metric, made.direction) == ("eval_accuracy", "maximize")
    assert made.settings("x", {})[0].metric_for_best_model == "eval_accuracy"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lerning_rate: [1e-3]\n", r"yaml:1: 'lerning_rate' is not a setting to search over; did you mean learning_r"),
        ("layers: [1]\nshares: [0.5]\n", "yaml:2: shares cannot be searched over: all trials must use the same"),
        ("seed: [1, 2]\n", "yaml:1: seed cannot be searched over: a seed is not a hyperparameter"),
        ("hub_token: [a]\n", "yaml:1: hub_token cannot be searched over: it does not change the result"),
        ("run_name: [a, b]\n", "yaml:1: run_name cannot be searched over: it does not change the result"),
        ("eval_steps: [5, 10]\n", "yaml:1: eval_steps cannot be searched over: trials are pruned by comparing"),
        ("output_dir: [a]\n", "yaml:1: output_dir cannot be searched over: it belongs to the search"),
        ("layers: [1, 2.5]\n", r"yaml:1: layers=2\.5 is not of type int; correct it"),
        ("# rates\n\nlearning_rate: [fast]\n", "yaml:3: learning_rate='fast' is not of type float"),
        ("learning_rate: [.nan]\n", "learning_rate=nan is not finite"),
        ("noise: [maybe]\n", "noise='maybe' is refused"),
        ("layers: [null]\n", "layers=None is not a single value"),
        ("layers: [[1, 2]]\n", "is not a single value"),
        ("layers: []\n", "layers is an empty list"),
        ("layers: [1, 1]\n", "layers lists a value twice"),
        ("layers: 3\n", "layers=3 is neither a list nor a range"),
        ("layers: {low: 1}\n", "layers is a range without low or high"),
        ("layers: {low: 1, hihg: 2}\n", "layers has 'hihg', which is not a key of a range; did you mean high?"),
        ("layers: {low: 3, high: 1}\n", "layers has low=3 and high=1; low must be below high"),
        ("layers: {low: 1, high: 4, step: 2}\n", "layers has step=2, which does not divide the range from 1 to 4"),
        ("layers: {low: 1, high: 4, step: 0}\n", "layers has step=0, which does not divide"),
        ("learning_rate: {low: 0, high: 1, log: true}\n", "a logarithmic range starts above 0"),
        ("learning_rate: {low: 1, high: 2, log: true, step: 1}\n", "log and step; choose one"),
        ("learning_rate: {low: 1, high: 2, log: 3}\n", "learning_rate.log=3 is neither true nor false"),
        ("kind: {low: 1, high: 2}\n", "kind is not a number and cannot have a range"),
        ("noise: {low: 0, high: 1}\n", "noise is not a number and cannot have a range"),
        ("learning_rate: {low: -1, high: 1}\n", r"learning_rate=-1\.0 is refused: learning_rate=-1\.0 is not positive"),
        ("layers: [1]\nlayers: [2]\n", r"yaml:2 is not valid YAML \(layers is set on line 1 already"),
        ("", "is empty; write e.g. `learning_rate"),
        ("- 1\n", "holds a list"),
        ("layers: [1\n", r"yaml:\d is not valid YAML"),
    ],
)
def test_spaces_that_are_refused(plan, text, message):
    with pytest.raises(ValueError, match=message) as error:
        plan(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "bayes"], "method='bayes' is not known; use one of tpe, grid, random"),
        (["--pruner", "mean"], "pruner='mean' is not known"),
        (["--pruner", "hyperband"], "pruner='hyperband' is not known; use one of median, halving, none"),
        (["--trails", 3], "--trails is not a setting; did you mean trials?"),
        (["--trials", 0], "trials=0 is below 1"),
        (["--workers", 0], "workers=0 is below 1"),
        (["--repeat_best", 1], "repeat_best=1 cannot measure the spread"),
        (["--learning_rate", 1], "learning_rate is set for all trials and also searched over in .*yaml:1"),
        (["--method", "grid"], "learning_rate is a range without step, and a grid needs choices; write a list"),
        (["--dry_run"], "dry_run is not a setting of a sweep"),
        (["--push_to_hub"], "push_to_hub is not a setting of a sweep; leave it out and push the best trial's folder"),
        (["--eval_strategy", "no"], "a sweep needs evaluations and a metric"),
    ],
)
def test_words_that_are_refused(plan, words, message):
    with pytest.raises(ValueError, match=message) as error:
        plan("learning_rate: {low: 1e-4, high: 1e-2}\n", *words)
    assert "\n" not in str(error.value)


@pytest.fixture
def with_presets(tmp_path):
    """A function that plans a search over presets, of which `other` brings another evaluation and seed along."""
    presets = {
        "plain": {},
        "strong": {"weight_decay": 0.5},
        "other": {"layers": 3, "eval_strategy": "epoch", "data_seed": 7},
    }
    stage = replace(toy_stage(), presets=presets)

    def make(text, *words):
        (tmp_path / "space.yaml").write_text(text)
        return parse_sweep(stage, ["--space", str(tmp_path / "space.yaml"), *map(str, words)], "toy sweep")

    return make


def test_presets_that_bring_a_fixed_setting_along_are_refused(with_presets):
    for text, words, one in (
        ("kind: [a]\npreset: [plain, strong, other]\n", [], "plain"),
        ("kind: [a]\npreset: [other]\n", ["--repeat_best", 2], "the default"),
    ):
        with pytest.raises(ValueError, match="preset cannot be searched over") as error:
            with_presets(text, *words)
        assert str(error.value).endswith(
            f"space.yaml:2: preset cannot be searched over: data_seed is None with {one} and 7 with other, and a "
            "seed is not a hyperparameter; pass --data_seed, --eval_strategy for all trials, or search over the "
            "settings themselves instead of preset"
        )
    with pytest.raises(ValueError, match=r"eval_strategy is steps with plain and epoch with other, .* pass --eval_str"):
        with_presets("preset: [plain, other]\n", "--data_seed", 1)


def test_presets_that_differ_in_what_may_be_searched(with_presets):
    assert with_presets("preset: [plain, strong]\n").space[0].choices == ("plain", "strong")
    equal = ["--data_seed", 1, "--eval_strategy", "steps"]
    assert with_presets("preset: [plain, strong, other]\n", "--repeat_best", 2, *equal).trials == 20
    assert with_presets("preset: [other]\n").trials == 20


def test_grids(plan, tmp_path):
    with pytest.raises(ValueError, match="trials=3 but the grid has 2 points; leave --trials out"):
        plan("layers: [1, 2]\n", "--method", "grid", "--trials", 3)
    (tmp_path / "wide.yaml").write_text("layers: {low: 0, high: 20000, step: 1}\n")
    space = read_space(tmp_path / "wide.yaml", toy_stage().types, {})
    with pytest.raises(ValueError, match="the grid has 20,001 points, more than 10,000"):
        grid_points(space)


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("{low: 0.0, high: 0.3, step: 0.1}", [0.0, 0.1, 0.2, 0.3]),
        ("{low: 0, high: 0.7, step: 0.1}", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),
        ("{low: 1e-5, high: 3e-5, step: 1e-5}", [1e-5, 2e-5, 3e-5]),
        ("{low: 0.0, high: 1.0, step: 0.33333333334}", [0.0, 0.33333333334, 0.66666666668, 1.0]),  # not above high
    ],
)
def test_points_of_a_grid_are_as_one_would_write_them(plan, written, values):
    points = plan(f"weight_decay: {written}\n", "--method", "grid").points
    assert [point["weight_decay"] for point in points] == values


def test_a_merge_key(plan):
    merged, own = plan("<<: {learning_rate: [0.1, 0.2], layers: [1]}\nlayers: [2, 3]\n").space
    assert (merged.name, merged.choices, own.choices) == ("learning_rate", (0.1, 0.2), (2, 3))
    with pytest.raises(ValueError, match=r"yaml:2: 'lerning_rate' is not a setting to search over; did you mean"):
        plan("layers: [1]\n<<: {lerning_rate: [0.1]}\n")
    with pytest.raises(ValueError, match=r"yaml:1: learning_rate is an empty list"):
        plan("<<: [{learning_rate: []}, {layers: [1]}]\n")


def test_a_missing_space(tmp_path):
    with pytest.raises(ValueError, match="space is not set; pass --space FILE"):
        parse_sweep(toy_stage(), [], "toy sweep")
    with pytest.raises(ValueError, match=r"space=none\.yaml does not exist"):
        parse_sweep(toy_stage(), ["--space", "none.yaml"], "toy sweep")
    with pytest.raises(ValueError, match="is a folder; pass a YAML file of settings to search over"):
        parse_sweep(toy_stage(), ["--space", str(tmp_path)], "toy sweep")
