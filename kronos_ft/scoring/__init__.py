"""Scores of forecasts: targets, metrics, significance, calibration, back-test."""
