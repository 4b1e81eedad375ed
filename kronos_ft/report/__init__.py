"""What a report knows of Kronos runs: their quantities, and rules on candles, windows, codes and tokens."""
