"""How samples are drawn."""
