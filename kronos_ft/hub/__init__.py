"""What is particular to Kronos models on the Hugging Face Hub."""
