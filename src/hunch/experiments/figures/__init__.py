"""Figures of results, whether just measured or read from `results/NAME.json`.

One file for each subject, one function for each experiment, named as its module. Figures import
experiments, never back.
"""
