"""How did the tables become what they are? One revision per file, run by `store.migrate`."""
