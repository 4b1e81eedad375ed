"""The search with a trainer that only tells its figures."""

import pytest

from ft_core.training.find_lr.search import find_rate
from ft_core.training.find_lr.trials import FollowRates, part_of, short_settings
from kronos_ft.training.arguments import KronosTokenizerArguments


class Told:
    """A trainer whose metric after a trial is that of a table; rates that are not in it diverge."""

    def __init__(self, follow, scores):
        peak = float(f"{max(follow.rates):.6g}")
        follow.losses = [1.0 - rate if rate < 1e-3 else 1.0 for rate in follow.rates]
        if peak and follow.before is None and peak not in scores:
            follow.losses = [float("nan")]
        self.value, self.eval_dataset = scores.get(peak, 2.0), range(10)

    def steps_per_epoch(self):
        return 7

    def evaluate(self, held_out):
        assert len(held_out) == 10
        return {"eval_recon_all": self.value, "eval_code_usage_s1": -self.value}


@pytest.fixture
def args(tmp_path):
    return KronosTokenizerArguments(output_dir=str(tmp_path), learning_rate="auto")


def search(args, scores):
    return find_rate(lambda settings, callbacks: Told(callbacks[0], scores), args)


def test_the_best_trial_on_validation_data_is_chosen(args):
    found = search(args, {1e-3: 1.0, 3e-4: 1.5, 1e-4: 1.9})
    assert found.rates == {"learning_rate": 1e-3}
    assert found.trial_steps == 105  # half of 30 epochs of 7 steps
    assert found.trials[3e-3] == float("inf")
    assert found.line().startswith("--learning_rate 0.001  (validation recon_all 1 after 105 steps, 2 before; ")


def test_a_higher_rate_than_that_of_the_best_trial_is_explained(args):
    found = search(args, {1e-3: 1.04, 3e-4: 1.0, 1e-4: 1.9})
    assert found.rates == {"learning_rate": 1e-3}
    assert found.line().endswith("rates tried, nearly as good as 0.0003, which is lower)")


def test_a_metric_that_should_grow(args):
    args.metric_for_best_model, args.greater_is_better = "eval_code_usage_s1", True
    found = search(args, {1e-3: 1.0, 3e-4: 1.5, 1e-4: 1.9})
    assert (found.start, found.trials[1e-3]) == (-2.0, -1.0)
    assert found.rates == {"learning_rate": 1e-3}


def test_a_loss_that_diverges_at_every_rate_is_one_line(args):
    with pytest.raises(ValueError, match=r"no learning rate was found: the loss diverged at 0\.003, 0\.001"):
        search(args, {})


def test_settings_of_a_short_run(args, tmp_path):
    args.optim, args.muon_learning_rate = "muon", 1e-3
    short = short_settings(args, str(tmp_path / "short"), 5)
    assert (short.max_steps, short.optim, short.one_cycle, short.report_to) == (5, "muon", False, [])
    assert float(short.learning_rate) == 2e-4  # the ratio of the rates is that of the run
    assert (args.max_steps, args.output_dir) == (-1, str(tmp_path))


def test_groups_keep_the_ratio_of_their_rates():
    import torch
    from transformers import TrainerControl, TrainerState

    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups = [{"params": [one], "lr": lr, "initial_lr": lr} for one, lr in zip(weights, (1e-3, 3e-3), strict=True)]
    optimizer = torch.optim.AdamW(groups)
    follow, state = FollowRates([0.0, 0.1, 0.2]), TrainerState()
    follow.on_train_begin(None, state, TrainerControl(), optimizer=optimizer)
    for step, rate in enumerate(follow.rates):
        state.global_step = step
        follow.on_step_begin(None, state, TrainerControl(), optimizer=optimizer)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([rate, 3 * rate])


def test_a_part_of_a_data_set_is_evenly_spaced():
    assert part_of(range(3), 3) == range(3)
    assert list(part_of(range(100), 4)) == [0, 25, 50, 75]
