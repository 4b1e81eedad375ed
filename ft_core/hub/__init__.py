"""The Hugging Face Hub: client, errors, push, pull and model card."""
