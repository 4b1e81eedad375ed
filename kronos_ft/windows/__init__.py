"""Windows of candles and their tokens: splits, augmentation, order."""
