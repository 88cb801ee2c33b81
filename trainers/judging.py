"""Judge a run on a data set, and keep the findings in the run folder.

Joins what the other files keep apart: loading a checkpoint, opening data, `retrieval.judge`, and the same network from
fresh weights as a baseline (another seed than the run's, so that it is no ancestor of the trained one).

Source: design of this project.
"""

from dataclasses import replace
from pathlib import Path

from resight.cluster.progress import Progress, silent
from resight.datasets.card import CARD_KEY, card_from_json
from resight.datasets.dataset import open_dataset
from resight.datasets.sources import parse_source
from resight.trainers import checkpoint as checkpoints
from resight.trainers.config import Config, scratch
from resight.trainers.embedder import Embedder
from resight.trainers.load import Which, find_checkpoint, load_embedder
from resight.trainers.methods import method_of
from resight.trainers.methods.method import DataShape
from resight.trainers.mirror import newest_or_best, run_here
from resight.trainers.retrieval.judge import Evaluation, judge
from resight.trainers.retrieval.maps import Look
from resight.trainers.retrieval.protocol import find_protocol
from resight.trainers.retrieval.reranking import RerankConfig
from resight.trainers.retrieval.scoring import Scoring

__all__ = ["judge_run", "training_sets"]

FRESH_SEED = 2**31 - 1


def judge_run(
    path: Path | str,
    data: str | Path,
    *,
    protocol: str = "market1501",
    scoring: Scoring = Scoring(),  # noqa: B008 - frozen
    flip: bool = False,
    multi_query: bool = False,
    rerank: RerankConfig | None = None,
    which: Which = "newest",
    baselines: bool = False,
    progress: Progress = silent,
) -> Evaluation:
    """Judge a checkpoint of a run, or the one that is given.

    Args:
        path: a run folder or the URL of one, whose `evaluations/` receives the findings, or a checkpoint in one.
        data: a packed or rendered data set with query and gallery images.
        protocol: a name in `retrieval.protocol.PROTOCOLS`.
        scoring: how rankings are scored.
        flip: judge the mean of each image's feature and its mirror image's.
        multi_query: judge queries by the mean over their person's images before their camera.
        rerank: how rankings are re-made for a second result beside the plain one; None: not at all.
        which: of a run's checkpoints: the newest, or the one that validation found best.
        baselines: also judge chance, the untrained network, and what masks allow.
        progress: receives images done.

    Raises:
        UserError: for a missing checkpoint or data set, and when the evaluation refuses.
    """
    rules, dataset = find_protocol(protocol), open_dataset(data)
    with run_here(path, newest_or_best(which)) as run:
        checkpoint = find_checkpoint(run, which=which)
        embedder = load_embedder(checkpoint, flip=flip)

        def untrained() -> Embedder:
            config = replace(scratch(embedder.config), seed=FRESH_SEED)
            return Embedder(embedder.config, method_of(config).build(config, embedder.shape), embedder.shape, flip=flip)

        attend = method_of(embedder.config).attend
        position = checkpoints.read_position(checkpoint)
        return judge(
            embedder,
            dataset,
            out=checkpoint.parent.parent,
            protocol=rules,
            scoring=scoring,
            multi_query=multi_query,
            rerank=rerank,
            baselines=baselines,
            untrained=untrained,
            look=Look(legend=attend.legend, maps=embedder.look) if attend else None,
            checkpoint={"name": checkpoint.name, "epoch": position.epoch, "step": position.step},
            trained_on=training_sets(embedder.config, embedder.shape),
            flip=flip,
            seed=embedder.config.seed,
            progress=progress,
        )


def training_sets(config: Config, shape: DataShape) -> tuple[str, ...] | None:
    """Return the names of the data sets that a network was trained on, None where not all of them can be told.

    A checkpoint names the cameras of its training data, and with them the data sets. Sets without cameras are asked
    for their names where they lie, as long as they do.
    """
    names = {camera.rpartition("/")[0] for camera in shape.cameras}
    if len(names) < len(config.data.sources):
        cards = [Path(parse_source(source)[0]) / CARD_KEY for source in config.data.sources]
        if not all(card.is_file() for card in cards):
            return None
        names |= {card_from_json(card.read_bytes(), where=str(card)).name for card in cards}
    return tuple(sorted(names))
