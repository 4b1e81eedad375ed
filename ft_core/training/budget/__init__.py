"""Time budgets: what a step costs on this machine, and how many steps fit into a given time."""
