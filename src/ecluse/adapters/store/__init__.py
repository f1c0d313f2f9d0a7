"""Keys and ledger at rest: one SQLite file, and in-memory fakes."""
