"""`resight evaluate`: judge a run on people it has never seen."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from resight.cli.place import Place
from resight.cluster.errors import UserError

if TYPE_CHECKING:
    from resight.trainers.retrieval.evaluation import Evaluation

__all__ = ["Evaluate"]


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Embed query and gallery, rank, and report mAP, mINP and rank-k as fractions.

    The result, its ranking pictures and the baselines are kept in the run folder, where `resight report` finds them.

    Examples:
      resight evaluate runs/market --data data/market
      resight evaluate runs/market --data data/market --json | jq .mAP
      resight evaluate runs/market --data data/market --checkpoint best
      resight evaluate runs/market --data data/ltcc --protocol clothes_changed --flip
      resight evaluate runs/market --data data/market --rerank
      resight evaluate runs/cuhk03 --data data/cuhk03 --rerank --rerank-k1 10 --json | jq .reranked.gain.mAP
      resight evaluate runs/market --data data/prcc --protocol prcc_cross_single_shot --format markdown
    """

    run_folder: Annotated[str, tyro.conf.Positional, tyro.conf.arg(name="run", metavar="RUN")]
    """A run folder, the s3://bucket/prefix of one, or one checkpoint's folder."""
    data: Place
    """The data set to judge on, a folder or s3://bucket/prefix; its query and gallery splits are used."""
    protocol: str = "market1501"
    """What a query is not asked to find. market1501 (also cuhk03_np, msmt17, veri776): its own pid and camera.
    no_camera: nothing. clothes_changed, clothes_same: also its own, or other, clothes; clothes_general and
    clothes_changed_literal beside them. prcc_same, prcc_cross, vcclothes_same, vcclothes_changed, deepchange: as
    published. single_shot, prcc_same_single_shot, prcc_cross_single_shot, vehicleid_800, _1600, _2400: one image of
    each identity answers, drawn 10 times. tracklets, tracklets_changed: one mean feature a track."""
    ap: Literal["rectangle", "trapezoid"] = "rectangle"
    """Average precision: precision at each hit, or trapezoids as in the original Market-1501 code."""
    unmatched: Literal["skip", "count"] = "skip"
    """Queries without a possible match: left out of every mean, or counted as never found."""
    flip: bool = False
    """Judge the mean of each image's feature and its mirror image's."""
    multi_query: bool = False
    """Judge each query by the mean over all images of its pid and camera, none of which is an answer."""
    rerank: bool = False
    """Also rank by common neighbours (k-reciprocal, Zhong et al. 2017); the result stands beside the plain one. Not
    for protocols that draw their gallery; baselines stay plain."""
    rerank_k1: int = 20
    """With --rerank: how many neighbours of each image are looked at."""
    rerank_k2: int = 6
    """With --rerank: over how many of the nearest a neighbourhood is averaged."""
    rerank_weight: float = 0.3
    """With --rerank: share of the plain distance in the new one, 0 to 1; the paper's lambda."""
    repeats: int | None = None
    """Draws of a protocol that draws; else as many as it says. Mean and spread are reported."""
    tie_bounds: bool = False
    """Also report the least and the most that any order of equal distances can give."""
    checkpoint: Literal["newest", "best"] = "newest"
    """Of a run's checkpoints: the newest, or the one that validation found best (see --data.val-ids of train)."""
    baselines: bool = False
    """Also judge chance, an untrained network and, where there are masks, colour histograms and silhouettes."""
    json: bool = False
    """Print one JSON object: mAP, mINP, rank1, rank5, rank10, queries, skipped, reranked, and by which rules."""
    format: Literal["table", "json", "markdown", "csv"] = "table"
    """How the result is printed: for people, or for other programs. json is the same as --json."""
    quiet: bool = False
    """No progress."""

    def run(self) -> int:
        """Judge and report."""
        from resight.terminal import ProgressView
        from resight.trainers.judging import judge_run
        from resight.trainers.retrieval.reranking import RerankConfig
        from resight.trainers.retrieval.scoring import Scoring

        if self.json and self.format not in ("table", "json"):
            problem = f"--json and --format {self.format} ask for two formats"
            raise UserError(problem, where="resight evaluate", cure="give one of them")
        rerank = RerankConfig(k1=self.rerank_k1, k2=self.rerank_k2, weight=self.rerank_weight)
        if not self.rerank and rerank != RerankConfig():
            raise UserError("nothing is re-ranked", where="--rerank-k1, -k2, -weight", cure="add --rerank")
        scoring = Scoring(ap=self.ap, unmatched=self.unmatched, repeats=self.repeats, tie_bounds=self.tie_bounds)
        with ProgressView(quiet=self.quiet) as view:
            evaluation = judge_run(
                self.run_folder,
                self.data,
                protocol=self.protocol,
                scoring=scoring,
                flip=self.flip,
                multi_query=self.multi_query,
                rerank=rerank if self.rerank else None,
                which=self.checkpoint,
                baselines=self.baselines,
                progress=view,
            )
        self._show(evaluation)
        return 0

    def _show(self, evaluation: "Evaluation") -> None:
        from resight.findings import show_metrics
        from resight.terminal import show, show_json
        from resight.trainers.retrieval.tables import to_csv, to_markdown

        if self.json or self.format == "json":
            show_json(evaluation.summary())
        elif self.format == "csv":
            show(to_csv(evaluation.to_dict()).rstrip("\n"))
        elif self.format == "markdown":
            show(to_markdown(evaluation.to_dict()).rstrip("\n"))
        else:
            show_metrics(evaluation.to_dict())
