"""Networks whose randomness means something: noisy layers, ensembles, randomised priors."""
