"""Who calls: API keys, what each may do, and answers remembered for retried requests."""
