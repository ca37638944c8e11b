"""What an ensemble knows of its own ignorance, where the right answer is known."""
