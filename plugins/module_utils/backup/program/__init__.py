"""The program that backs a machine up; it needs nothing but Python, restic and docker."""
