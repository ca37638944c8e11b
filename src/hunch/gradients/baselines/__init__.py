"""What is subtracted from a cost before it weighs a score."""
