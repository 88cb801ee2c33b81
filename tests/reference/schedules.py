"""Learning rates of the published code, as it was run: (time, learning rate)."""

STRONG_BASELINE = {
    0: 3.5e-6, 1: 3.815e-5, 2: 7.28e-5, 5: 1.7675e-4, 9: 3.1535e-4, 10: 3.5e-4, 39: 3.5e-4, 40: 3.5e-5, 69: 3.5e-5,
    70: 3.5e-6, 120: 3.5e-6,
}  # fmt: skip
"""Adam 3.5e-4, ten epochs of warm-up from 0.01, a tenth at 40 and 70."""

TRANSREID = {
    0: 8e-5, 1: 0.001664, 2: 0.003248, 4: 0.006416, 5: 0.0079658479, 6: 0.0079508519, 20: 0.0074651734, 60: 0.004008,
    90: 0.0011852297, 119: 1.7368e-5, 120: 1.6e-5,
}  # fmt: skip
"""SGD 0.008, cosine over 120 epochs to 0.002, five epochs of warm-up from 0.01; the weights' group."""

TRANSREID_SSL = {
    0: 4e-6, 1: 2.38e-5, 2: 4.36e-5, 5: 1.03e-4, 19: 3.802e-4, 20: 3.732587e-4, 60: 2.004e-4, 90: 5.92615e-5, 120: 8e-7,
}  # fmt: skip
"""SGD 4e-4, cosine over 120 epochs to 0.002, twenty epochs of warm-up from 0.01."""
