"""Everything that answers, behind the Upstream port."""
