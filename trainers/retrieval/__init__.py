"""Retrieval: how well features find the same person again, exactly, in bounded memory."""

from resight.trainers.retrieval.metrics import evaluate
from resight.trainers.retrieval.ranking import rank

__all__ = ["evaluate", "rank"]
