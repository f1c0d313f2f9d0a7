"""What an attempt used and what it cost."""
