"""Forecast the next BTC candles with sample paths, from the embedded sample or your CSV file.

    python examples/forecast_btc.py [candles.csv]

Uses the published Kronos-small or, without a network, what examples/finetune_btc.py has trained.
"""

import sys
from pathlib import Path

from kronos_ft import KronosForecaster, load_sample

TRAINED = Path("runs/finetune-demo")

# 1. Candles. The sample's last day is hidden and forecast.
own = len(sys.argv) > 1
data = sys.argv[1] if own else load_sample()[0]
origin = None if own else str(data.timestamps[-48])

# 2. A model with all that it needs: its tokenizer, and the context that it was trained with.
try:
    forecaster = KronosForecaster.from_pretrained("small")
except ConnectionError:
    if not (TRAINED / "predictor" / "best_model").is_dir():
        sys.exit("Cannot download the published weights: run examples/finetune_btc.py first, then this example again.")
    print(f"Cannot download the published weights: using {TRAINED}.")
    forecaster = KronosForecaster.from_pretrained(TRAINED)

# 3. A hundred paths; the context is computed once for all of them.
forecast = forecaster.predict(data, horizon=24, num_paths=100, origin=origin)

# 4. Quantiles of the close, probabilities, a table of all paths, a picture.
print(forecast)
print(forecast.quantiles([0.05, 0.25, 0.5, 0.75, 0.95]).iloc[[0, 11, 23]].to_string(float_format="{:,.2f}".format))
high = 1.02 * forecast.last_close
print(f"a high above {high:,.2f}: {forecast.probability(lambda paths: paths[:, :, 1].max(axis=1) > high):.0%}")
forecast.to_frame().to_csv("forecast.csv", index=False)
forecast.plot().figure.savefig("forecast.png")
print("paths              forecast.csv\npicture            forecast.png")
