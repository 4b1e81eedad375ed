"""The published predictor and ours with the same random weights, and candles to forecast."""

import model as published
import pandas as pd
import torch

from kronos_ft import Kronos, KronosConfig, KronosPredictor, KronosTokenizer, KronosTokenizerConfig, load_sample

REFERENCE = "kronos-model-arch 0.1.0"


def predictors(size: str, device: str = "cpu") -> dict[str, object]:
    """`published` and `ours`."""
    tokenizer_config = KronosTokenizerConfig.from_size("2k" if size == "mini" else "base")
    config = KronosConfig.from_size(size)
    torch.manual_seed(0)
    their_tokenizer = published.KronosTokenizer(
        **{key: getattr(tokenizer_config, key) for key in tokenizer_config.published_keys()}
    )
    their_model = published.Kronos(**{key: getattr(config, key) for key in config.published_keys()})
    tokenizer, model = KronosTokenizer(tokenizer_config), Kronos(config)
    tokenizer.load_state_dict(their_tokenizer.state_dict())
    model.load_state_dict(their_model.state_dict())
    theirs = their_model.to(device).eval(), their_tokenizer.to(device).eval()
    return {
        "published": published.KronosPredictor(*theirs, device=device),
        "ours": KronosPredictor(model, tokenizer, device=device),
    }


def bars(lookback: int, horizon: int, first: int = 1000) -> tuple[pd.DataFrame, pd.Series, pd.Series]:
    """Candles of the embedded sample with their times, and the times of the next bars."""
    frame = load_sample()[0].to_frame().iloc[first : first + lookback + horizon]
    return frame.iloc[:lookback], frame.timestamps[:lookback], frame.timestamps[lookback:]
