"""What a Trainer of transformers takes, and this library's trainers as well."""
