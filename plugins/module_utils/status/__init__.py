"""How the node is: the program that looks, and the page and table that show it."""
