"""mT5 models on the Hugging Face Hub: model card and push."""
