"""Pushes beside a training, without the training: what a save starts, what a failure says, what an end leaves."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from transformers import TrainerControl, TrainerState

from ft_core.checkpoints.manifest import write_manifest
from ft_core.hub.card import CardFacts
from ft_core.hub.training_push import PushCheckpoints, check_hub, push_command_of, push_finished
from tests.pushable_hub import Fault

FOREVER = 10**6
CARD = CardFacts("A model", "kronos-ft", "time-series-forecasting", ["kronos"], 'load("{repo}")')


@pytest.fixture
def args(tmp_path):
    return SimpleNamespace(
        output_dir=str(tmp_path / "run"), hub_model_id="me/x", hub_private_repo=None, hub_revision=None, hub_token=None,
        push_to_hub=True,
    )  # fmt: skip


@pytest.fixture
def save(args, tmp_path):
    """A function that writes a checkpoint as a training does; its folder."""

    def run(step, extra=False):
        folder = tmp_path / "run" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        save_file({"weight": torch.full((100,), float(step))}, folder / "model.safetensors")
        (folder / "config.json").write_text('{"model_type": "any"}')
        (folder / "optimizer.pt").write_bytes(b"pickled")
        write_manifest(folder, {"step": step, "extra": extra})
        return folder

    return run


@pytest.fixture
def warnings(caplog):
    """A function: what was warned of since the last call."""

    def read():
        found = [record.getMessage() for record in caplog.records if record.name == "ft_core.hub.training_push"]
        caplog.clear()
        return found

    return read


def state_at(step):
    state = TrainerState(global_step=step, max_steps=6)
    state.is_world_process_zero = True
    return state


def test_a_save_is_pushed_from_what_stays_when_the_checkpoint_goes(hub, args, save, tmp_path, traces):
    described = []
    pushes = PushCheckpoints("kronos-ft", lambda folder, run: described.append((folder, run)) or CARD)
    folder = save(2)
    weights = (folder / "model.safetensors").read_bytes()
    pushes.on_save(args, state_at(2), TrainerControl())
    shutil.rmtree(folder)
    pushes.finish(args)
    (commit,) = hub.history("me/x")
    assert commit.files["model.safetensors"] == weights
    assert sorted(commit.files) == [".gitattributes", "README.md", "config.json", "model.safetensors"]
    assert commit.message == "Step 2 of 6, in training"
    assert described == [(folder, tmp_path / "run")]
    assert list((tmp_path / "run").iterdir()) == []
    assert traces(hub) == []


@pytest.mark.fault(23)
@pytest.mark.thorough
def test_a_save_that_comes_while_a_push_is_under_way_is_left_out(hub, args, save):
    hub.fail("POST /commit/", Fault(stall=3.0))
    pushes = PushCheckpoints("kronos-ft", lambda folder, run: CARD)
    for step in (2, 4):
        save(step)
        pushes.on_save(args, state_at(step), TrainerControl())
    pushes.finish(args)
    save(6)
    pushes.on_save(args, state_at(6), TrainerControl())
    pushes.finish(args)
    assert [commit.message[:6] for commit in hub.history("me/x")] == ["Step 2", "Step 6"]


def test_what_is_not_pushed(hub, args, save, warnings):
    pushes = PushCheckpoints("kronos-ft", lambda folder, run: CARD)
    save(2, extra=True)  # only a signal asked for it
    pushes.on_save(args, state_at(2), TrainerControl())
    pushes.on_save(args, state_at(3), TrainerControl())  # a save that failed left no folder
    save(4)
    other = state_at(4)
    other.is_world_process_zero = False
    pushes.on_save(args, other, TrainerControl())
    pushes.finish(args)
    assert not hub.requests
    assert warnings() == []


def test_a_failure_is_one_warning_with_the_command_that_repeats_it(hub, args, save, warnings):
    hub.fail("POST /commit/", Fault(status=403, times=FOREVER))
    pushes = PushCheckpoints("kronos-ft", lambda folder, run: CARD)
    folder = save(2)
    pushes.on_save(args, state_at(2), TrainerControl())
    pushes.finish(args)
    (line,) = warnings()
    assert line.startswith("checkpoint-2 was not pushed to me/x (the Hub forbids this for me/x (403)")
    assert line.endswith(f"to push this one again, run: kronos-ft push {folder} me/x")

    def cannot(folder, run):
        raise ValueError("no card")

    PushCheckpoints("kronos-ft", cannot).on_save(args, state_at(2), TrainerControl())
    assert "(no card)" in warnings()[0]


def test_a_training_that_ends_badly_ends_its_push(hub, args, save, tmp_path):
    hub.fail("POST /commit/", Fault(stall=60.0))
    pushes = PushCheckpoints("kronos-ft", lambda folder, run: CARD)
    save(2)
    pushes.on_save(args, state_at(2), TrainerControl())
    process = pushes._process
    pushes.abandon(args)
    assert process.poll() is not None
    assert not (tmp_path / "run" / ".pushing").exists()
    pushes.finish(args)
    pushes.abandon(args)


def test_the_end_of_a_run(hub, args, save, warnings, capsys):
    folder = save(2)
    assert push_finished("mt5-ft", args, lambda run: (folder, CARD))
    (commit,) = hub.history("me/x")
    assert capsys.readouterr().out == f"pushed      {hub.url}/me/x/commit/{commit.oid}\n"
    assert push_finished("mt5-ft", args, lambda run: (folder, CARD))
    assert capsys.readouterr().out.startswith("pushed      unchanged, nothing to commit")
    hub.fail("POST /commit/", Fault(status=503, times=FOREVER))
    (folder / "config.json").write_text("{}")
    args.hub_private_repo, args.hub_revision = True, "a b"
    assert push_command_of("mt5-ft", folder, args).endswith("me/x --private --revision 'a b'")
    args.hub_private_repo = args.hub_revision = None
    assert not push_finished("mt5-ft", args, lambda run: (folder, CARD))
    (line,) = warnings()
    assert "the finished model was not pushed to me/x (the Hub answered 503, 5 times in a row" in line
    assert line.endswith(f"to push it again, run: mt5-ft push {args.output_dir} me/x")
    args.push_to_hub = False
    assert not push_finished("mt5-ft", args, lambda run: pytest.fail("looked at"))


def test_what_is_looked_at_before_a_training(hub, args, monkeypatch):
    check_hub(args)
    check_hub(SimpleNamespace(**vars(args)))
    assert hub.requests == [("GET", "/api/whoami-v2")]
    args.hub_model_id = "me/y"
    for fault, message in (
        ({"status": 401}, r"the Hub refused the log-in for me/y \(401\); log in with"),
        ({"status": 503}, "5 times in a row, so push_to_hub may fail; start again later"),
        ({"cut": "answer"}, "5 times in a row, so push_to_hub may fail; start again later"),
        ({"status": 200, "text": "<html>"}, "is not the Hub; check HF_ENDPOINT"),
    ):
        hub.fail("GET /whoami", Fault(**fault, times=FOREVER))
        with pytest.raises((ValueError, ConnectionError), match=message):
            check_hub(args)
        hub.mend()
    args.hub_private_repo = True
    check_hub(args)  # it does not exist yet
    args.hub_model_id = "me/x"
    hub.create("me/x")
    with pytest.raises(
        ValueError, match="me/x already exists and is public, but hub_private_repo is only for new repositories"
    ):
        check_hub(args)
    hub.role = "read"
    with pytest.raises(ValueError, match="the Hub token is read-only, but me/x needs write permission"):
        check_hub(args)
    assert "me/x" in json.dumps(list(hub.repositories))
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ValueError, match="no Hub token was found"):
        check_hub(args)
