"""Backbones: networks from images to feature maps, their published weights, and the layers they are made of."""
