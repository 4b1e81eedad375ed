"""What a report knows of mT5 runs: their quantities, and rules on lengths, texts and summaries."""
