"""The gradient of an expectation, for any distribution."""
