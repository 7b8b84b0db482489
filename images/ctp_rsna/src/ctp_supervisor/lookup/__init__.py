"""Whose an object is: CTP's lookup table, kept equal to KeyDB, and the rows that it had before."""
