"""Open Inference Protocol v2 with the extensions of Triton: docs/open-inference-protocol.md.

Each model has two faces: NAME takes encoded pictures, NAME.tensor takes the tensors of its graph.
"""
