"""Common layers differentiated by hand; with `fast=False` agents run plain torch instead."""
