"""How good a model is on labelled clips: scores, datasets, post-processing, folds, reports."""
