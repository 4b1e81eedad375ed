"""Every day: forecasts as files, a log of their quantiles, and its scores once the bars are known."""
