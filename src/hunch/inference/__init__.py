"""Data in, a predictive distribution out."""

from hunch.inference.bootstrap import bootstrap_weights, standard_normals
from hunch.inference.class_metrics import accuracy, brier, expected_calibration_error
from hunch.inference.class_predictive import ClassPredictive
from hunch.inference.conformal import (
    SplitConformal,
    conformal_classes,
    conformal_quantile,
    jackknife_after_bootstrap,
    split_conformal,
)
from hunch.inference.copies import copy_ids
from hunch.inference.divided import DividedClassPredictive, DividedPredictive
from hunch.inference.fit import fit
from hunch.inference.history import History
from hunch.inference.metrics import (
    calibration_error,
    dyadic_batches,
    ensemble_crps,
    gaussian_crps,
    gaussian_nll,
    interval_coverage,
    interval_score,
    joint_nll,
    mixture_crps,
    nll,
)
from hunch.inference.out_of_bag import OutOfBag, out_of_bag
from hunch.inference.predict import predict
from hunch.inference.predictive import Predictive
from hunch.inference.predictive_module import PredictiveModule

__all__ = [
    "ClassPredictive",
    "DividedClassPredictive",
    "DividedPredictive",
    "History",
    "OutOfBag",
    "Predictive",
    "PredictiveModule",
    "SplitConformal",
    "accuracy",
    "bootstrap_weights",
    "brier",
    "calibration_error",
    "conformal_classes",
    "conformal_quantile",
    "copy_ids",
    "dyadic_batches",
    "ensemble_crps",
    "expected_calibration_error",
    "fit",
    "gaussian_crps",
    "gaussian_nll",
    "interval_coverage",
    "interval_score",
    "jackknife_after_bootstrap",
    "joint_nll",
    "mixture_crps",
    "nll",
    "out_of_bag",
    "predict",
    "split_conformal",
    "standard_normals",
]
