"""What loads, from folders and from a Hub on this machine, and what is refused, with which words."""

import json
import shutil

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from safetensors.torch import load_file, save_file

from kronos_ft.models.configuration_kronos import KronosTokenizerConfig
from kronos_ft.models.identity import weights_hash
from kronos_ft.models.modeling_kronos import KronosTokenizer
from tests.any_json import VALUES
from tests.examples import examples
from tests.hub_fixtures import talk_to
from tests.loopback_hub import LoopbackHub


@pytest.fixture
def folder(tiny_model, tmp_path):
    """A model folder as published: no model_type."""
    path = tmp_path / "model"
    tiny_model.save_pretrained(path)
    config = {key: getattr(tiny_model.config, key) for key in tiny_model.config.published_keys()}
    (path / "config.json").write_text(json.dumps(config))
    return path


def edit_config(folder, **changes):
    values = json.loads((folder / "config.json").read_text())
    values.update(changes)
    (folder / "config.json").write_text(json.dumps({k: v for k, v in values.items() if v is not None}))


def edit_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def refuse(folder, message):
    with pytest.raises(ValueError, match=message) as error:
        KronosTokenizer.from_pretrained(folder)
    assert "\n" not in str(error.value)


def test_overrides_of_the_configuration(folder):
    assert KronosTokenizer.from_pretrained(folder, resid_dropout_p=0.3).config.resid_dropout_p == 0.3


def test_a_run_of_several_stages_names_them(folder, tmp_path):
    for stage in ("tokenizer", "predictor"):
        shutil.copytree(folder, tmp_path / "run" / stage / "best_model")
    refuse(tmp_path / "run", r"no model.safetensors; pass a folder .*; it has .*run/predictor and .*run/tokenizer")


@pytest.mark.fault(15)
def test_a_run_stands_for_its_best_model(folder, tiny_model):
    run = folder.parent / "run"
    run.mkdir()
    (run / "run.json").write_text("{}")
    refuse(run, "has no model yet; continue it with --resume")
    folder.rename(run / "best_model")
    loaded = KronosTokenizer.from_pretrained(run)
    assert weights_hash(loaded) == weights_hash(tiny_model)
    assert KronosTokenizer.read_config(run).published_keys() == tiny_model.config.published_keys()


def test_pickled_weights_are_refused(folder):
    (folder / "model.safetensors").unlink()
    torch.save({"any": torch.zeros(1)}, folder / "pytorch_model.bin")
    refuse(folder, r"contains only pickled weights \(pytorch_model.bin\), which are never loaded; .*model.safetensors")


@pytest.mark.fault(15)
def test_pickled_weights_beside_safetensors_are_not_read(folder):
    (folder / "pytorch_model.bin").write_bytes(b"not even a pickle")
    assert KronosTokenizer.from_pretrained(folder).config.d_model == 32


def test_missing_files(folder):
    (folder / "model.safetensors").unlink()
    refuse(folder, "has no model.safetensors; pass a folder with both")
    refuse(folder / "config.json", "is a file; pass the folder")
    refuse(folder.parent / "nowhere", "does not exist; correct the path")


def test_another_architecture(folder):
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 8}))
    refuse(folder, r"is not a KronosTokenizer: its config.json lacks d_in \(it describes: bert\)")


@pytest.mark.fault(25)
def test_a_predictor_is_no_tokenizer(folder):
    edit_config(folder, d_in=None, n_enc_layers=None, n_layers=4, learn_te=True)
    refuse(folder, "is not a KronosTokenizer: its config.json lacks d_in")


def test_damaged_configuration(folder):
    (folder / "config.json").write_text('{"d_in": 6,')
    refuse(folder, "config.json is not valid JSON")


def test_impossible_configuration(folder):
    edit_config(folder, group_size=3)
    refuse(folder, r"config.json: group_size=3 does not divide s1_bits \+ s2_bits = 10")


def test_configuration_of_the_wrong_type(folder):
    edit_config(folder, d_model="wide")
    refuse(folder, "config.json: .*d_model")


def test_missing_and_unexpected_tensors(folder):
    edit_weights(folder, lambda weights: weights.pop("head.weight"))
    refuse(folder, "1 tensors missing, the first is head.weight; pass a folder of the right model")


def test_unexpected_tensor(folder):
    edit_weights(folder, lambda weights: weights.update(extra=torch.zeros(1)))
    refuse(folder, "1 tensors unexpected, the first is extra")


def test_tensors_of_another_size(folder):
    edit_config(folder, ff_dim=128)
    refuse(
        folder,
        "do not match its configuration as KronosTokenizer: 6 tensors with another shape, the first is decoder.0.ffn",
    )


@pytest.mark.fault(25)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "name", ["embed.weight", "encoder.0.self_attn.q_proj.weight", "quant_embed.bias", "head.weight"]
)
def test_weights_that_are_not_finite_are_refused(folder, name, value):
    """The signs of the codes hide NaN: forecasts and training would go on with meaningless tokens."""

    def damage(weights):
        weights[name].view(-1)[3] = value

    edit_weights(folder, damage)
    refuse(
        folder, rf"has NaN or infinite numbers in 1 of \d+ tensors \({name}\); use an earlier checkpoint or download"
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [("n_enc_layers", 10**7), ("n_dec_layers", 10**6), ("d_model", 8 * 10**9), ("ff_dim", 10**12), ("d_in", 10**9)],
)
def test_a_configuration_larger_than_its_weights_is_refused_before_it_is_built(folder, field, value):
    edit_config(folder, **{field: value})
    refuse(folder, f"config.json has {field}={value}, but the weights beside it are those of a smaller model")


@pytest.mark.fault(18)
@settings(examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(KronosTokenizerConfig.published_keys()), VALUES)
def test_any_value_in_the_configuration_loads_or_is_one_line(folder, field, value):
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {field: value}))
    try:
        KronosTokenizer.from_pretrained(folder)
    except ValueError as error:
        message = str(error)
    else:
        message = ""
    finally:
        (folder / "config.json").write_text(json.dumps(values))
    assert len(message.splitlines()) <= 1


def test_truncated_weights(folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    refuse(folder, "model.safetensors is damaged .*; download it again")


@pytest.mark.fault(16)
def test_remote_code_is_refused(folder):
    with pytest.raises(ValueError, match="trust_remote_code=True is not supported"):
        KronosTokenizer.from_pretrained(folder, trust_remote_code=True)


@pytest.fixture
def ask_hub(monkeypatch, tmp_path):
    """A function: what loading each name gives with that Hub and an empty cache."""

    def ask(url, names):
        talk_to(url, monkeypatch, tmp_path)
        answers = {}
        for name in names:
            try:
                answers[name] = str(KronosTokenizer.from_pretrained(name).config.d_model)
            except Exception as error:
                answers[name] = f"{type(error).__name__}: {error}"
        return answers

    return ask


def test_repositories_on_a_hub(folder, ask_hub):
    repos = {
        "NeoQuasar/Kronos-Tokenizer-base": {path.name: path.read_bytes() for path in folder.iterdir()},
        "some/pickle": {"config.json": b"{}", "pytorch_model.bin": b"x"},
        "some/empty": {"README.md": b"x"},
    }
    with LoopbackHub(repos) as url:
        answers = ask_hub(url, [*repos, "some/unknown", "no name at all"])
    assert answers["NeoQuasar/Kronos-Tokenizer-base"] == "32"
    assert answers["some/pickle"].startswith(
        "ValueError: some/pickle contains only pickled weights (pytorch_model.bin), which are never loaded"
    )
    assert answers["some/empty"].startswith("ValueError: repository some/empty has no config.json or no model.safe")
    assert answers["some/unknown"].startswith(
        "ValueError: model='some/unknown' is not a folder or a Hub repository that you can read"
    )
    assert answers["no name at all"].startswith(
        "ValueError: model='no name at all' is not an existing folder or a Hub name"
    )


def test_hub_out_of_reach(ask_hub):
    answers = ask_hub("http://127.0.0.1:9", ["some/one"])
    assert answers["some/one"].startswith(
        "HubUnreachable: cannot reach the Hub for some/one, and it is not in the local cache"
    )


def test_a_folder_that_is_not_there_may_be_mistyped(ask_hub):
    """A name in a folder of the working directory is more likely a path than a name on the Hub."""
    (answer,) = ask_hub("http://127.0.0.1:9", ["tests/nope"]).values()
    assert answer.startswith(
        "HubUnreachable: tests/nope is not in the folder tests; cannot reach the Hub for tests/nope"
    )
