"""One file a revision. A released revision never changes: a new one follows it."""
