"""Four tiny models, really trained, that show the cascade at work. A demonstration, no more."""
