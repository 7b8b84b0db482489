"""The net: what came is kept until it has left, and what leaves is compared with it."""
