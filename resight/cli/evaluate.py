"""`resight evaluate`: judge a run on people it has never seen."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from resight.cluster.errors import UserError

__all__ = ["Evaluate"]


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Embed query and gallery, rank, and report mAP, mINP and rank-k as fractions.

    The result, its ranking pictures and the baselines are kept in the run folder, where `resight report` finds them.

    Examples:
      resight evaluate runs/market --data data/market
      resight evaluate runs/market --data data/market --json | jq .mAP
      resight evaluate runs/market --data data/market --checkpoint best
      resight evaluate runs/market --data data/market --rerank --rerank-k1 30
    """

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run", metavar="RUN")]
    """A run folder, or one checkpoint's folder."""
    data: Path
    """The data set to judge on; its query and gallery splits are used."""
    protocol: str = "market1501"
    """market1501: the query's own pid and camera do not count. no_camera: nothing is left out but the query itself."""
    checkpoint: Literal["newest", "best"] = "newest"
    """Of a run's checkpoints: the newest, or the one that validation found best (see --data.val-ids of train)."""
    baselines: bool = False
    """Also judge chance, an untrained network and, where there are masks, colour histograms and silhouettes."""
    rerank: bool = False
    """Re-make rankings from common neighbours (Zhong et al. 2017), the baselines' too; the findings say so."""
    rerank_k1: int = 20
    """With --rerank: size of the reciprocal neighbourhoods."""
    rerank_k2: int = 6
    """With --rerank: neighbours over which they are averaged."""
    rerank_weight: float = 0.3
    """With --rerank: weight of the plain distance, 0 to 1; the paper's lambda."""
    json: bool = False
    """Print one JSON object: mAP, mINP, rank1, rank5, rank10, queries, skipped."""
    quiet: bool = False
    """No progress."""

    def run(self) -> int:
        """Judge and report."""
        from resight.findings import show_metrics
        from resight.terminal import ProgressView, show_json
        from resight.trainers.judging import judge_run
        from resight.trainers.retrieval.reranking import RerankConfig

        chosen = RerankConfig(k1=self.rerank_k1, k2=self.rerank_k2, weight=self.rerank_weight)
        if not self.rerank and chosen != RerankConfig():
            raise UserError(
                "rankings are not re-made, so it is not known what for", where="--rerank-*", cure="add --rerank"
            )

        with ProgressView(quiet=self.quiet) as view:
            evaluation = judge_run(
                self.run_folder,
                self.data,
                protocol=self.protocol,
                which=self.checkpoint,
                baselines=self.baselines,
                reranking=chosen if self.rerank else None,
                progress=view,
            )
        if self.json:
            show_json(evaluation.metrics.to_dict())
        else:
            show_metrics(evaluation.to_dict())
        return 0
