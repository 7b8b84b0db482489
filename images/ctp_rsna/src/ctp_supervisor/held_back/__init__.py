"""What CTP could not deliver: why, and how it goes round again."""
