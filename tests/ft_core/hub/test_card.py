"""The card: what is claimed and what is left out, who may change it, and what a training is said to have cost."""

import json

import pytest
import torch
import yaml
from safetensors.torch import save_file

from ft_core.checkpoints.weights import count_parameters
from ft_core.hub.card import NO_OPTIONS, CardFacts, CardOptions, Result, is_untouched, model_card
from ft_core.hub.card_cost import board_power, training_cost
from ft_core.hub.card_facts import RecordedRun, add_training, named_base, read_run, recipe_rows
from ft_core.hub.push import push_model
from ft_core.io.console import lines_to
from ft_core.runs.record_schema import NEEDED
from kronos_ft.models.configuration_kronos import KronosTokenizerConfig
from kronos_ft.models.modeling_kronos import KronosTokenizer

CARD = CardFacts("A model", "kronos-ft", "time-series-forecasting", ["kronos"], 'load("{repo}")')
REPO = "me/model"


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    save_file({"weight": torch.arange(10.0)}, path / "model.safetensors")
    (path / "config.json").write_text('{"model_type": "any"}')
    return path


@pytest.fixture
def push(hub, folder):
    """A function that pushes; what the repository's card says then, and what was said."""

    def run(card=CARD, **settings):
        lines = []
        with lines_to(lines.append):
            push_model(folder, REPO, card, **settings)
        return hub.history(REPO)[-1].files["README.md"].decode(), lines

    return run


def changed(**values):
    return CardFacts(**{**vars(CARD), **values})


def test_a_card_of_this_library_follows_what_is_recorded(hub, push):
    first, _ = push()
    assert is_untouched(first)
    assert is_untouched(first.replace("\n", "\r\n"))
    second, lines = push(changed(facts={"steps": "80"}))
    assert "| steps | 80 |" in second
    assert lines == []
    assert len(hub.history(REPO)) == 2
    push(changed(facts={"steps": "80"}))
    assert len(hub.history(REPO)) == 2


def test_an_edited_card_of_the_hub_is_kept_unless_it_is_to_be_replaced(hub, push):
    first, _ = push()
    edited = first.replace("# model", "# My model")
    assert not is_untouched(edited)
    hub.history(REPO)[-1].files["README.md"] = edited.encode()
    card, lines = push(changed(facts={"steps": "80"}))
    assert card == edited
    assert lines == [
        "kept the model card of me/model because it was edited on the Hub; pass --update_card to replace it"
    ]
    card, lines = push(changed(facts={"steps": "80"}), update_card=True)
    assert "| steps | 80 |" in card
    assert lines == []


def test_a_card_in_the_folder_is_pushed_and_does_not_replace_an_edited_one(hub, push, folder):
    for text in ("# Mine\n", "# Mine\n", "# Mine, later\n"):
        (folder / "README.md").write_text(text)
        card, lines = push()
        assert card.startswith(f"{text}\n<!-- pushed by kronos-ft, ")
        assert lines == []
        assert (folder / "README.md").read_text() == text
    assert len(hub.history(REPO)) == 2
    (folder / "README.md").write_text(card.replace("later", "last"))  # copied from there, with the mark of before
    card, lines = push()
    assert card.startswith("# Mine, last\n\n<!-- pushed")
    assert card.count("<!--") == 1
    assert is_untouched(card)
    hub.history(REPO)[-1].files["README.md"] = b"# Edited there\n"
    card, lines = push()
    assert card == "# Edited there\n"
    assert lines == [
        "kept the model card of me/model because it was edited on the Hub; pass --update_card to replace it"
    ]
    card, lines = push(update_card=True)
    assert card.startswith("# Mine, last\n")


def test_metadata_is_what_is_known():
    facts = changed(
        base_model="google/mt5-small", base_commit="ab" * 20, languages=["zh"], datasets=["me/data"],
        results=[Result("records", "records", "validation", "rouge", "ROUGE-L", 31.5)],
        emissions={"emissions": 12.0, "source": "assumed"},
    )  # fmt: skip
    _, metadata, text = model_card(facts, REPO).split("---\n", 2)
    values = yaml.safe_load(metadata)
    assert values["license"] == "apache-2.0"
    assert (values["language"], values["datasets"]) == (["zh"], ["me/data"])
    assert values["co2_eq_emissions"] == {"emissions": 12.0, "source": "assumed"}
    (result,) = values["model-index"][0]["results"]
    assert result["task"]["type"] == "time-series-forecasting"
    assert result["metrics"] == [{"type": "rouge", "value": 31.5, "name": "ROUGE-L"}]
    assert "at commit `abababababab`" in text
    bare = yaml.safe_load(model_card(CARD, REPO).split("---\n", 2)[1])
    assert bare.keys() == {"library_name", "pipeline_tag", "tags"}
    assert "Not stated; ask the owner" in model_card(CARD, REPO)


@pytest.mark.parametrize(
    ("name", "watts"),
    [
        ("NVIDIA H100 80GB HBM3", 700), ("NVIDIA H100 PCIe", 350), ("NVIDIA A100-SXM4-80GB", 400),
        ("NVIDIA A100-PCIE-40GB", 250), ("Tesla T4", 70), ("NVIDIA GeForce RTX 4090", 450),
        ("NVIDIA GeForce RTX 3080 Ti", None), ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None), (None, None), ("", None),
    ],
)  # fmt: skip
def test_board_power(name, watts):
    assert board_power(name) == watts


def test_cost_of_a_training_with_its_assumptions():
    record = {"seconds": 7200, "world_size": 2, "hardware": {"device": "cuda", "name": "NVIDIA H100 80GB HBM3"}}
    cost = training_cost(record)
    assert cost.energy == pytest.approx(2 * 0.7 * 2)
    assert cost.emissions == pytest.approx(2.8 * 475)
    rows = cost.rows()
    assert rows["training time"] == "2.0 h on 2 x NVIDIA H100 80GB HBM3"
    assert "700 W (its board power)" in rows["energy, estimated"]
    assert "475 g CO2eq per kWh (world average, IEA 2019)" in rows["CO2, estimated"]
    found = cost.metadata("fine-tuning")
    assert (found["emissions"], found["training_type"]) == (1330.0, "fine-tuning")
    stated = training_cost(record, power=500, intensity=50)
    assert stated.emissions == pytest.approx(2.0 * 50)
    assert "as stated" in stated.rows()["CO2, estimated"]


@pytest.mark.parametrize(
    ("hours", "words", "energy", "emissions"),
    [
        (0.5, "30 min", "1.4 kWh", "665 g CO2eq"), (25.5, "25.5 h", "71.4 kWh", "33.9 kg CO2eq"),
        (130, "130.0 h", "364 kWh", "173 kg CO2eq"), (1234, "1,234.0 h", "3,455 kWh", "1.64 t CO2eq"),
    ],
)  # fmt: skip
def test_large_costs_are_readable(hours, words, energy, emissions):
    rows = training_cost(
        {"seconds": hours * 3600, "world_size": 4, "hardware": {"name": "NVIDIA H100 80GB HBM3"}}
    ).rows()
    assert rows["training time"].startswith(f"{words} on 4 x")
    assert rows["energy, estimated"].startswith(f"{energy}: {words} x")
    assert rows["CO2, estimated"].startswith(f"{emissions} at")


def test_no_cost_is_invented():
    processor = {"seconds": 600, "world_size": 1, "hardware": {"device": "cpu", "machine": "x86_64", "threads": 2}}
    cost = training_cost(processor)
    assert cost.metadata("fine-tuning") is None
    assert cost.rows() == {
        "training time": "10 min on 1 x x86_64 cpu (2 threads)",
        "energy and CO2": "not estimated: the power of the device is not known (`push --power WATTS` sets it)",
    }
    assert training_cost({"seconds": 0}) is None
    assert training_cost({}) is None
    with pytest.raises(ValueError, match=r"power=-3 is out of range; pass a positive number"):
        training_cost(processor, power=-3)


def test_recipe_and_base_of_a_record():
    arguments = {"learning_rate": 1e-4, "max_steps": 80, "num_train_epochs": 30, "weight_decay": 0.0, "lora": True}
    record = {"arguments": arguments, "global_step": 80, "max_steps": 80, "model": {"preset": "fast"}, "world_size": 2}
    rows = recipe_rows(RecordedRun(record, {}), {"lora": "low-rank adapters"})
    assert rows == {
        "preset": "`fast`", "optimizer steps": "80 of 80", "learning rate": "0.0001", "steps requested": "80",
        "weight decay": "0", "low-rank adapters": "on", "processes": "2",
    }  # fmt: skip
    assert recipe_rows(RecordedRun({}, {}), {}) == {}
    for model, base in (
        ({"model": "small"}, ("NeoQuasar/Kronos-small", None)),
        ({"model": "small", "from_scratch": True}, (None, None)),
        (
            {"model": "small", "repository": "NeoQuasar/Kronos-small", "revision": "ab"},
            ("NeoQuasar/Kronos-small", "ab"),
        ),
        ({"model": "models/mine", "repository": None}, (None, None)),  # a folder, wherever it is now
        ({}, (None, None)),
    ):
        assert named_base(RecordedRun({"model": model}, {}), {"small": "NeoQuasar/Kronos-small"}) == base


def test_the_code_of_a_card_loads_its_branch(hub, push, folder):
    facts = changed(usage='tokenizer = load_tokenizer("{repo}")\nmodel = f(load_model("{repo}", tokenizer), 1)')
    push(facts)
    push_model(folder, REPO, facts, revision="tried")
    card = hub.history(REPO, "tried")[-1].files["README.md"].decode()
    assert 'load_tokenizer("me/model", revision="tried")' in card
    assert 'f(load_model("me/model", tokenizer, revision="tried"), 1)' in card
    for revision in (None, "main"):
        assert 'load_tokenizer("me/model")' in model_card(facts, REPO, revision)


@pytest.fixture
def runs(tmp_path):
    """A function that writes the record of a run, with the model that it started from."""

    def write(name, model, started):
        (tmp_path / name / "best_model").mkdir(parents=True)
        record = dict.fromkeys(NEEDED, 0) | {"status": "finished", "arguments": {}, "model": model}
        record["started"] = f"2026-01-{started:02}T00:00:00+00:00"
        (tmp_path / name / "run.json").write_text(json.dumps(record))
        return tmp_path / name

    return write


def test_a_model_that_went_on_has_the_base_of_the_run_before(runs):
    first = runs("first", {"model": "small", "from_scratch": False}, 1)
    second = runs("second", {"model": str(first / "best_model"), "from_scratch": False}, 2)
    third = runs("third", {"model": str(second), "from_scratch": False}, 3)
    published = {"small": "NeoQuasar/Kronos-small"}
    for run in (first, second, third):
        assert named_base(read_run(run), published) == ("NeoQuasar/Kronos-small", None)
    facts = changed(base_model="NeoQuasar/Kronos-small", sections=[])
    add_training(facts, read_run(third), {}, NO_OPTIONS)
    assert "from random weights" not in model_card(facts, REPO)
    replaced = {"model": "small", "from_scratch": True}
    (first / "run.json").unlink()
    (first / "best_model").rmdir()
    first.rmdir()
    runs("first", replaced, 4)  # another run in the folder, later than what went on from it
    assert named_base(read_run(third), published) == (None, None)


def test_only_random_weights_are_a_pre_training():
    ended = {
        "seconds": 3600.0,
        "world_size": 1,
        "hardware": {"device": "cpu"},
        "status": "finished",
        "arguments": {"seed": 1},
    }
    for model, kind, start in (
        ({"model": "tiny", "from_scratch": True}, "pre-training", True),
        ({"model": "/gone/best_model", "from_scratch": False}, "fine-tuning", False),
    ):
        facts = changed(sections=[])
        add_training(facts, RecordedRun({"model": model, **ended}, {}), {}, CardOptions(power=65.0))
        assert facts.emissions["training_type"] == kind
        assert ("| start | random weights |" in model_card(facts, REPO)) is start


def test_settings_that_are_off_are_no_part_of_the_recipe():
    names = {"warmup_steps": "warm-up, steps", "tokens_per_batch": "tokens per micro-batch"}
    for given, shown in ((0, None), (0.25, "25 % of all steps"), (200, "200")):
        facts = RecordedRun({"arguments": {"warmup_steps": given, "tokens_per_batch": 0, "weight_decay": 0.0}}, {})
        rows = recipe_rows(facts, names)
        assert rows.get("warm-up, steps") == shown
        assert "tokens per micro-batch" not in rows
        assert rows["weight decay"] == "0"


def test_buffers_are_no_parameters(tmp_path):
    tokenizer = KronosTokenizer(KronosTokenizerConfig.from_size("tiny"))
    tokenizer.save_pretrained(tmp_path)
    assert count_parameters(tmp_path) == sum(parameter.numel() for parameter in tokenizer.parameters())


@pytest.mark.parametrize("wrong", [[], {"a": 1}, 7, True])
def test_facts_of_other_types_are_no_base_and_no_recipe(wrong):
    model = {"model": wrong, "repository": wrong, "revision": wrong}
    run = RecordedRun({"model": model, "arguments": {"max_steps": wrong, "warmup_steps": wrong, "seed": 1}}, {})
    assert named_base(run, {"base": "a/b"}) == (None, None)
    assert recipe_rows(run, {})["seed"] == "1"
