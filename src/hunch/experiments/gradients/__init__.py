"""Estimators of gradients through samples, against closed forms and each other."""
