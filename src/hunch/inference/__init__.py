"""Data in, a predictive distribution out."""
