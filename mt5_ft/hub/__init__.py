"""What is particular to mT5 models on the Hugging Face Hub."""
