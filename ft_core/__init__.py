"""What the Kronos and the mT5 fine-tuner share; it imports neither of them."""
