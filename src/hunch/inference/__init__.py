"""Data in, a predictive distribution out."""

from hunch.inference.bootstrap import bootstrap_weights, standard_normals
from hunch.inference.class_predictive import ClassPredictive
from hunch.inference.conformal import (
    SplitConformal,
    conformal_classes,
    conformal_quantile,
    jackknife_after_bootstrap,
    split_conformal,
)
from hunch.inference.fit import History, fit
from hunch.inference.out_of_bag import OutOfBag, out_of_bag
from hunch.inference.predict import predict
from hunch.inference.predictive import Predictive

__all__ = [
    "ClassPredictive",
    "History",
    "OutOfBag",
    "Predictive",
    "SplitConformal",
    "bootstrap_weights",
    "conformal_classes",
    "conformal_quantile",
    "fit",
    "jackknife_after_bootstrap",
    "out_of_bag",
    "predict",
    "split_conformal",
    "standard_normals",
]
