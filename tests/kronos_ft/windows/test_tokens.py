"""Windows as tokens: equal to tokenising by hand, kept on disk, made anew when anything changed, never leaking."""

import logging
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from kronos_ft.data.candles import load_candles
from kronos_ft.models.configuration_kronos import KronosTokenizerConfig
from kronos_ft.models.modeling_kronos import KronosTokenizer
from kronos_ft.windows import tokens as tokens_module
from kronos_ft.windows.augmentation import AugmentationArguments
from kronos_ft.windows.dataset import WindowDataset, WindowShape
from kronos_ft.windows.tokens import TokenWindowDataset, cache_folder, freeze, tokenise

SHAPE = WindowShape(20, 4, stride=5)


@pytest.fixture
def windows(series):
    return WindowDataset(series, "train", SHAPE)


@pytest.fixture
def made(monkeypatch):
    """Counts how many windows are tokenised."""
    count = []
    original = tokens_module.tokenise

    def counting(tokenizer, candles):
        count.append(len(candles))
        return original(tokenizer, candles)

    monkeypatch.setattr(tokens_module, "tokenise", counting)
    return lambda: sum(count)


@pytest.fixture
def said(caplog):
    logging.getLogger("transformers").propagate = True
    logging.getLogger("kronos_ft.windows.tokens").propagate = True
    return caplog


def test_tokens_are_those_of_the_clean_windows(windows, tiny_model):
    data = TokenWindowDataset(windows, tiny_model)
    rows = [3, 0, len(windows) - 1]
    batch = data.__getitems__(rows)
    clean = windows.__getitems__(rows)
    s1, s2 = tiny_model.eval().encode(clean["target"], half=True)
    assert torch.equal(batch["s1"], s1)
    assert torch.equal(batch["s2"], s2)
    assert torch.equal(batch["stamps"], clean["stamps"])
    assert {name: values.dtype for name, values in batch.items()} == dict.fromkeys(batch, torch.int64)
    assert data.s1.dtype == torch.int16
    assert torch.equal(data[3]["s1"], batch["s1"][0])
    assert torch.equal(data[3 + 2 * len(data)]["s2"], batch["s2"][0])  # the pass makes no difference
    assert len(list(data)) == len(data) == len(windows)
    for name in ("split", "shape", "symbols", "bounds", "windows_per_symbol"):
        assert getattr(data, name) == getattr(windows, name)


def test_wide_codes_are_kept_in_32_bits(windows):
    torch.manual_seed(0)
    wide = {**KronosTokenizerConfig.from_size("tiny").to_dict(), "s1_bits": 16, "s2_bits": 4}
    data = TokenWindowDataset(windows, KronosTokenizer(KronosTokenizerConfig(**wide)))
    assert (data.s1.dtype, data.s2.dtype) == (torch.int32, torch.int16)
    assert data.s1.max() > 2**15


def test_the_callers_tokenizer_is_not_changed_and_its_mode_does_not_matter(windows, tiny_model):
    config = KronosTokenizerConfig(**{**tiny_model.config.to_dict(), "resid_dropout_p": 0.5})
    dropping = KronosTokenizer(config)
    dropping.load_state_dict(tiny_model.state_dict())
    data = TokenWindowDataset(windows, dropping.train())
    assert dropping.training
    assert all(parameter.requires_grad for parameter in dropping.parameters())
    assert torch.equal(data.s1, TokenWindowDataset(windows, tiny_model).s1)


def test_autocast_does_not_reach_the_tokens(windows, tiny_model):
    frozen, candles = freeze(tiny_model), windows.__getitems__(range(40))["target"]
    plain = tokenise(frozen, candles)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not torch.equal(frozen.encode(candles, half=True)[1], plain[1])
        assert all(torch.equal(one, other) for one, other in zip(tokenise(frozen, candles), plain, strict=True))


def test_the_second_run_reads_what_the_first_made(windows, tiny_model, tmp_path, made):
    plain = TokenWindowDataset(windows, tiny_model)
    first = TokenWindowDataset(windows, tiny_model, tmp_path)
    before = made()
    second = TokenWindowDataset(windows, tiny_model, tmp_path)
    assert made() == before == 2 * len(windows)
    for other in (first, second):
        assert torch.equal(plain.s1, other.s1)
        assert torch.equal(plain.s2, other.s2)
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".safetensors"]


def test_other_weights_data_or_windows_have_tokens_of_their_own(windows, tiny_model, candle_frame, tmp_path, made):
    TokenWindowDataset(windows, tiny_model, tmp_path)
    torch.manual_seed(5)
    other = KronosTokenizer(tiny_model.config)
    changed = candle_frame.copy()
    changed.loc[400, "volume"] *= 1.01
    for name, data, tokenizer in (
        ("weights", windows, other),
        ("data", WindowDataset(load_candles({"SIM": changed}), "train", SHAPE), tiny_model),
        ("lookback", WindowDataset(load_candles({"SIM": candle_frame}), "train", WindowShape(21, 3, 5)), tiny_model),
        ("stride", WindowDataset(load_candles({"SIM": candle_frame}), "train", WindowShape(20, 4, 6)), tiny_model),
        (
            "clip",
            WindowDataset(load_candles({"SIM": candle_frame}), "train", WindowShape(20, 4, 5, clip=2)),
            tiny_model,
        ),
        ("split", WindowDataset(load_candles({"SIM": candle_frame}), "test", SHAPE), tiny_model),
    ):
        before = made()
        found = TokenWindowDataset(data, tokenizer, tmp_path)
        assert made() - before == len(data), name
        assert torch.equal(found.s2, TokenWindowDataset(data, tokenizer).s2), name


def test_another_rule_of_normalising_is_noticed(windows, tiny_model, tmp_path, made, monkeypatch):
    TokenWindowDataset(windows, tiny_model, tmp_path)
    from kronos_ft.windows import dataset as windows_module

    original = windows_module.normalise

    def other(raw, lookback, clip):
        scaled, mean, scale = original(raw, lookback, clip)
        return scaled * np.float32(0.9), mean, scale

    monkeypatch.setattr(windows_module, "normalise", other)
    before = made()
    TokenWindowDataset(windows, tiny_model, tmp_path)
    assert made() - before == len(windows)


def flip_byte(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:200])


def replace(path):
    save_file({"s1": torch.zeros(3, 3), "s2": torch.zeros(3, 3)}, path)


def drop(path):
    tensors = load_file(path)
    save_file({"s1": tensors["s1"]}, path)


@pytest.mark.parametrize("damage", [flip_byte, cut, replace, drop])
def test_a_damaged_or_stale_file_is_made_anew_and_said_in_one_line(windows, tiny_model, tmp_path, made, said, damage):
    good = TokenWindowDataset(windows, tiny_model, tmp_path).s1.clone()  # the data set maps the file
    (path,) = tmp_path.rglob("*.safetensors")
    damage(path)
    before = made()
    found = TokenWindowDataset(windows, tiny_model, tmp_path)
    assert made() - before == len(windows)
    assert torch.equal(found.s1, good)
    (record,) = said.records
    assert "are unusable" in record.message
    assert record.message.endswith("computing them again")
    assert "\n" not in record.message
    TokenWindowDataset(windows, tiny_model, tmp_path)
    assert made() - before == len(windows)


def test_tokens_of_another_tokenizer_in_the_right_place_are_not_used(windows, tiny_model, tmp_path, said):
    good = TokenWindowDataset(windows, tiny_model, tmp_path).s1.clone()
    (mine,) = tmp_path.rglob("*.safetensors")
    torch.manual_seed(5)
    TokenWindowDataset(windows, KronosTokenizer(tiny_model.config), tmp_path)
    (other,) = (path for path in tmp_path.rglob("*.safetensors") if path != mine)
    shutil.copy(other, mine)
    assert torch.equal(TokenWindowDataset(windows, tiny_model, tmp_path).s1, good)
    assert "computed with another tokenizer" in said.text


def test_a_folder_that_cannot_be_written_is_said(windows, tiny_model, tmp_path, said):
    (tmp_path / "file").write_text("")
    found = TokenWindowDataset(windows, tiny_model, tmp_path / "file" / "cache")
    assert torch.equal(found.s1, TokenWindowDataset(windows, tiny_model).s1)
    assert "cannot cache tokens in" in said.text


def test_progress_is_told(windows, tiny_model):
    told = []
    TokenWindowDataset(windows, tiny_model, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (len(windows), len(windows))


def test_augmented_windows_are_refused(series, tiny_model):
    windows = WindowDataset(series, "train", SHAPE, augmentation=AugmentationArguments(augment_noise=True))
    with pytest.raises(ValueError, match="tokens of augmented windows cannot be cached"):
        TokenWindowDataset(windows, tiny_model)


@pytest.mark.fault(17)
def test_nothing_at_or_after_the_origin_reaches_a_token_before_it(candle_frame, tiny_model):
    origin = 300
    changed = candle_frame.copy()
    changed.loc[origin:, ["open", "high", "low", "close"]] *= 3.0
    changed.loc[origin:, ["volume", "amount"]] *= 7.0
    before, after = (
        TokenWindowDataset(WindowDataset(load_candles({"SIM": table}), "train", WindowShape(20, 4)), tiny_model)
        for table in (candle_frame, changed)
    )
    for index in range(origin - 24, origin - 19):
        known = origin - index
        for name in ("s1", "s2"):
            assert torch.equal(before[index][name][:known], after[index][name][:known])
    assert not torch.equal(before[origin - 20]["s2"], after[origin - 20]["s2"])


def test_where_tokens_are_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("KRONOS_FT_CACHE", str(tmp_path))
    assert cache_folder("true") == cache_folder(True) == tmp_path / "tokens"
    assert cache_folder("false") is None
    assert cache_folder("some/folder").parts == ("some", "folder")
    monkeypatch.delenv("KRONOS_FT_CACHE")
    assert cache_folder("true").parts[-3:] == (".cache", "kronos-ft", "tokens")
