"""Backups: what is copied, the program that copies it, and how it went."""
