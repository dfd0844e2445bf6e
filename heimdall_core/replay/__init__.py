"""A training done again from its ``manifest.json`` alone, and whether it ends in the same weights."""
