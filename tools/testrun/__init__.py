"""The runner behind tools/test.sh: which tests, in how many places, and what they took."""
