"""Data in, a predictive distribution out."""

from hunch.inference.bootstrap import bootstrap_weights, standard_normals
from hunch.inference.fit import History, fit, predict
from hunch.inference.predictive import Predictive

__all__ = ["History", "Predictive", "bootstrap_weights", "fit", "predict", "standard_normals"]
