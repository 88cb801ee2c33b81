"""The training loop: one function, top to bottom, for every method, engine and place to run.

    for each epoch, for each step:
        learning rate -> (forward -> weighted sum -> backward) of each logical batch -> all finite? -> optimiser
        -> method.update -> event; told to stop, or a checkpoint is due: save
    at the end of an epoch: event, validation, checkpoint

What differs between methods are values (`methods/method.py`), between one worker and many the engine, between a
laptop and a cluster the context. Nobody subclasses this. Whether all is finite, and whether to stop, the ranks agree
on with one small all-reduce a step, before anything is changed.

Source: design of this project; the single readable loop is nanoGPT's habit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from resight.cluster.errors import UserError, did_you_mean
from resight.datasets.batch import Batch, grouped
from resight.trainers.checkpoint import Position
from resight.trainers.config import Config, RunConfig
from resight.trainers.contexts.context import Notice, RunContext
from resight.trainers.engines.engine import Engine
from resight.trainers.job import TrainData, begun_epoch, make_job, resume_job
from resight.trainers.meter import Meter
from resight.trainers.nonfinite import non_finite
from resight.trainers.optim import set_lr
from resight.trainers.validation import validate, validation_due

__all__ = ["FitResult", "fit", "weighted_sum"]


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """How a run ended.

    Attributes:
        position: epochs and steps done.
        finished: False when it was told to stop before its last epoch.
    """

    position: Position
    finished: bool


def fit(config: Config, data: TrainData, engine: Engine, context: RunContext) -> FitResult:
    """Train from the context's checkpoint, or from the beginning, to the last epoch or until told to stop.

    Args:
        config: the whole configuration.
        data: logical batches.
        engine: how a step is spread over workers.
        context: where events and checkpoints go, and who says stop.

    Raises:
        NonFiniteLoss: when a loss is NaN or infinite, on every rank, before the optimiser steps.
    """
    job = make_job(config, data, engine)
    at = resume_job(job, config, data, engine, context)
    weights, steps = job.method.weights(config), data.steps_per_epoch
    so_far = begun_epoch(context.checkpoint())
    for epoch in range(at.epoch, config.run.epochs):
        meter, so_far = Meter(engine.clock, engine.device, job.speed.share(engine.world), so_far), None
        batches = data.batches(epoch, at.step - epoch * steps, rank=engine.rank, world=engine.world)
        parts_of_steps = grouped(batches, len(config.sampler.parts))
        for step, parts in enumerate(meter.timed(parts_of_steps), start=at.step - epoch * steps):
            lr = set_lr(job.moving.optimizer, config.schedule, config.optim, epoch, step, steps_per_epoch=steps)
            losses, total = _gradient(engine, parts, weights, config.sampler.accumulate)
            bad, notice = engine.largest(int(not torch.isfinite(total)), int(context.notice()))
            if bad:
                raise non_finite(losses, parts, at, engine, data)
            engine.step(config.optim.clip_norm)
            job.update(config)
            at = Position(epoch=epoch, step=at.step + 1)
            meter.add(losses, parts)
            if at.step % config.run.log_every_steps == 0:
                facts = meter.step(losses)
                context.report("step", epoch=epoch, step=at.step, total=total.item(), lr=lr, **facts)
            if notice or _due(config.run, step + 1, steps):
                job.save(at, context, so_far=meter.so_far())
            if notice == Notice.STOP:
                return FitResult(position=at, finished=False)
        at = Position(epoch=epoch + 1, step=at.step)
        context.report("epoch", epoch=epoch, step=at.step, **meter.epoch())
        found = validate(job, config, data, engine) if validation_due(config, at.epoch) else None
        if found is not None:
            context.report("validate", epoch=at.epoch, step=at.step, **found)
        if found is not None or at.epoch % config.run.checkpoint_every_epochs == 0 or at.epoch == config.run.epochs:
            job.save(at, context, found)
    context.report("finish", epoch=at.epoch, step=at.step)
    return FitResult(position=at, finished=True)


def _gradient(
    engine: Engine, parts: Sequence[Batch], weights: Mapping[str, float], accumulate: int
) -> tuple[dict[str, Tensor], Tensor]:
    """Leave the gradient of a step's mean loss in the parameters; return its losses and their weighted sum.

    Args:
        engine: computes.
        parts: this rank's part of the step's batch: chunks of the first micro-batch, of the second, ...
        weights: of the losses.
        accumulate: micro-batches, over which the mean is taken.
    """
    chunks = len(parts) // accumulate
    found: list[tuple[dict[str, Tensor], Tensor]] = []
    for begin in range(0, len(parts), chunks):
        losses = engine.forward(parts[begin : begin + chunks], more=begin + chunks < len(parts))
        total = weighted_sum(losses, weights)
        engine.backward(total / accumulate)
        found.append(({name: loss.detach() for name, loss in losses.items()}, total.detach()))
    if accumulate == 1:
        return found[0]
    names = found[0][0]
    means = {name: torch.stack([losses[name] for losses, _ in found]).mean() for name in names}
    return means, torch.stack([total for _, total in found]).mean()


def weighted_sum(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Return the sum of the losses that have a weight, the one place where it is taken; others are only reported."""
    for name in weights:
        if name not in losses:
            raise UserError(f"the weight {name!r} has no loss", cure=did_you_mean(name, losses))
    return torch.stack([losses[name] * weight for name, weight in weights.items()]).sum()


def _due(run: RunConfig, done: int, steps: int) -> bool:
    """Tell whether a checkpoint is due within an epoch, `done` of whose `steps` are done; its end has its own."""
    every = run.checkpoint_every_steps
    return every is not None and done % every == 0 and done < steps
