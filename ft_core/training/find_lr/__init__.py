"""Finding a learning rate: a range test, then short runs judged on validation data."""
