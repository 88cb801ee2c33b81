"""Judge a run on a data set, and keep the findings in the run folder.

Joins what the other files keep apart: loading a checkpoint, opening data, `retrieval.judge`, and the same network from
fresh weights as a baseline (another seed than the run's, so that it is no ancestor of the trained one).

Source: design of this project.
"""

from dataclasses import replace
from pathlib import Path

from resight.cluster.progress import Progress, silent
from resight.datasets.dataset import open_dataset
from resight.trainers import checkpoint as checkpoints
from resight.trainers.config import scratch
from resight.trainers.embedder import Embedder
from resight.trainers.load import Which, find_checkpoint, load_embedder
from resight.trainers.methods import method_of
from resight.trainers.retrieval.judge import Evaluation, judge
from resight.trainers.retrieval.maps import Look
from resight.trainers.retrieval.protocol import find_protocol
from resight.trainers.retrieval.reranking import RerankConfig

__all__ = ["judge_run"]

FRESH_SEED = 2**31 - 1


def judge_run(
    path: Path,
    data: Path,
    *,
    protocol: str = "market1501",
    which: Which = "newest",
    baselines: bool = False,
    reranking: RerankConfig | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Judge a checkpoint of a run, or the one that is given.

    Args:
        path: a run folder, whose `evaluations/` receives the findings, or a checkpoint in one.
        data: a packed or rendered data set with query and gallery images.
        protocol: a name in `retrieval.protocol.PROTOCOLS`.
        which: of a run's checkpoints: the newest, or the one that validation found best.
        baselines: also judge chance, the untrained network, and what masks allow.
        reranking: how rankings are re-made; None: not at all.
        progress: receives images done.

    Raises:
        UserError: for a missing checkpoint or data set, and when the evaluation refuses.
    """
    rules, dataset = find_protocol(protocol), open_dataset(data)
    checkpoint = find_checkpoint(path, which=which)
    embedder = load_embedder(checkpoint)

    def untrained() -> Embedder:
        config = replace(scratch(embedder.config), seed=FRESH_SEED)
        return Embedder(embedder.config, method_of(config).build(config, embedder.shape), embedder.shape)

    attend = method_of(embedder.config).attend
    position = checkpoints.read_position(checkpoint)
    return judge(
        embedder,
        dataset,
        out=checkpoint.parent.parent,
        protocol=rules,
        baselines=baselines,
        untrained=untrained,
        look=Look(legend=attend.legend, maps=embedder.look) if attend else None,
        reranking=reranking,
        checkpoint={"name": checkpoint.name, "epoch": position.epoch, "step": position.step},
        seed=embedder.config.seed,
        progress=progress,
    )
