"""Stands in for the document's ResNet-50 image: evaluates a small, real model on the NPU that it was given."""
