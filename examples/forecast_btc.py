"""Forecast the next 24 BTC candles with sample paths, from the embedded sample or your CSV file.

    python examples/forecast_btc.py [candles.csv]

Uses the published Kronos-small or, without a network, what examples/finetune_btc.py has trained.
"""

import sys
from pathlib import Path

from kronos_ft import (
    Kronos,
    KronosPredictor,
    KronosTokenizer,
    describe_forecast,
    forecast_series,
    load_candles,
    load_sample,
)

TRAINED = Path("runs/finetune-demo")

# 1. Candles. The sample's last day is hidden and forecast, so that the picture shows what happened.
own = len(sys.argv) > 1
series = load_candles(sys.argv[1]) if own else load_sample()
origin = None if own else str(series[0].timestamps[-48])

# 2. A model and the tokenizer that it was trained with.
try:
    tokenizer = KronosTokenizer.from_pretrained("NeoQuasar/Kronos-Tokenizer-base")
    model, lookback = Kronos.from_pretrained("NeoQuasar/Kronos-small"), 400
except ConnectionError:
    if not (TRAINED / "predictor" / "best_model").is_dir():
        sys.exit("Cannot download the published weights: run examples/finetune_btc.py first, then this example again.")
    print(f"Cannot download the published weights: using {TRAINED}.")
    tokenizer = KronosTokenizer.from_pretrained(TRAINED / "tokenizer" / "best_model")
    model, lookback = Kronos.from_pretrained(TRAINED / "predictor" / "best_model"), 90

# 3. A hundred paths; the context is computed once for all of them.
predictor = KronosPredictor(model, tokenizer)
(btc,) = forecast_series(predictor, series, horizon=24, lookback=lookback, num_paths=100, origin=origin)

# 4. Bands, a table of all paths, a picture.
low, high = btc.forecast.band(0.8)
print("\n".join(describe_forecast(btc)))
print(f"80 % band          {low.close.iloc[-1]:,.2f} to {high.close.iloc[-1]:,.2f} at the last bar")
btc.forecast.to_frame(btc.times).to_csv("forecast.csv", index=False)
btc.plot("forecast.png")
print("paths              forecast.csv\npicture            forecast.png")
