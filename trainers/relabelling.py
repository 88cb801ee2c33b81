"""Pseudo labels in a run: a method's clusters become label columns in the run folder, and the plan's identities.

    an epoch begins:    versions = relabel(method, models, data, config, epoch, run)     cluster, publish, swap in
    a checkpoint:       keeps versions
    resume in an epoch: restore(data, run, versions)                                     nothing is clustered again

Batches are a pure function of (seed, epoch, step, label versions), so a run that is resumed in the middle of an epoch
goes on with the batches it would have had. Columns are published by content: ranks, and a run that clusters the same
epoch again after a crash, write the same file. Source: design of this project; relabelling every epoch as in Ge et al.
2020 (arXiv:2001.01526), section 3.1. Trade-off: every epoch leaves a file, about 10 bytes a sample, in `labels/`.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from resight.cluster.storage import Storage
from resight.datasets.labels import LabelColumn, label_column, load_labels, publish_labels
from resight.datasets.sources import Source
from resight.trainers.config import Config
from resight.trainers.methods.method import Method, Models

__all__ = ["Relabelled", "relabel", "restore"]


class Relabelled(Protocol):
    """Training data whose labels can be changed between epochs; `datasets/loader.py` has the real one."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """The opened data sets."""
        ...

    @property
    def label_versions(self) -> tuple[str, ...]:
        """Each source's label version, "" for given identities."""
        ...

    def relabel(self, labels: Mapping[int, LabelColumn | None]) -> None:
        """Go on with other labels for the sources named."""
        ...


def relabel(
    method: Method, models: Models, data: Relabelled, config: Config, epoch: int, run: Storage
) -> tuple[str, ...]:
    """Let the method label its sources anew, publish the labels, swap them in.

    Args:
        method: one whose `relabel` is given.
        models: as they are when the epoch begins.
        data: what is trained on.
        config: of the run.
        epoch: that begins.
        run: the run folder.

    Returns:
        The label version of each source: what a checkpoint keeps.
    """
    assert method.relabel is not None, "this method has given labels"
    made_by = {"method": config.method.kind, "epoch": epoch, "seed": config.seed}
    columns: dict[int, LabelColumn | None] = {}
    for number, labels in method.relabel(models, data.sources, config, epoch).items():
        source = data.sources[number]
        column = label_column(source.dataset, source.crops, labels, made_by=made_by)
        publish_labels(run, column, source.dataset)
        columns[number] = column
    data.relabel(columns)
    return data.label_versions


def restore(data: Relabelled, run: Storage, versions: Sequence[str]) -> None:
    """Swap in the labels a checkpoint was made with; sources without a version go back to their given identities.

    Raises:
        UserError: when a column is missing, was changed, or belongs to other data.
    """
    assert len(versions) == len(data.sources), f"{len(versions)} versions for {len(data.sources)} sources"
    wanted = zip(data.sources, versions, strict=True)
    data.relabel({n: load_labels(run, v, s.dataset) if v else None for n, (s, v) in enumerate(wanted)})
