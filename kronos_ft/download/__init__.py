"""Candles from exchanges and from monthly archives, checked while they are written to one file."""
