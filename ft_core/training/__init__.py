"""The shared Trainer and its callbacks: guarded steps, interruption, early stopping, one-cycle schedule, progress."""
