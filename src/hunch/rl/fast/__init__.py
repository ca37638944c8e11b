"""Common layers differentiated by hand; without this package agents run plain torch."""
