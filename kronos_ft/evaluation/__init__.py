"""Walk-forward evaluation: origins, baselines, verdict, and its report."""
