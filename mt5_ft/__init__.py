"""mt5-ft: fine-tune mT5 for summaries in Chinese and English with the Hugging Face Trainer."""
