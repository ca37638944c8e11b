"""How noisy and how biased every estimator is on a problem of yours."""
