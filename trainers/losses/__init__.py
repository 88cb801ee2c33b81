"""Losses: pure functions of tensors, each file with its formula, its source and its tiny frozen config.

All take the features of the whole logical batch, so they mean the same for any number of workers. Rows whose label is
-1 take no part. None of them waits for the device or loops over samples.
"""
