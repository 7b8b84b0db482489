"""The deployed stack: its state, what changes it, its secrets' versions and its data's copies."""
