"""Finds the preprocessing of a classifier by trying recipes on labelled pictures."""
