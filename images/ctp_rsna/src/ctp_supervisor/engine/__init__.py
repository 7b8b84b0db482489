"""CTP itself: what it is about to read, where it works, how it runs, and what a kill of it left."""
