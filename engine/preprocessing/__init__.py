"""Preprocessing: from a decoded picture to the input tensor of a model."""
