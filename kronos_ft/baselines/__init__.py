"""Reference forecasters: naive, bootstrap and volatility forecasts that a model has to beat."""
