"""Files: atomic writes, bounded decompression, refusal of pickles, spreadsheet-safe cells, retries, progress lines."""
