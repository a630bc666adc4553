"""Which atoms see each other, and what they share."""
