"""A node that was made by hand: what stands there, and the inventory that describes it."""
