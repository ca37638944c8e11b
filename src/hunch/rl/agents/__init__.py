"""The agents, and the loop between them and their environments."""
