"""The networks of agents: what they are made of, what their outputs mean, how they move."""
