"""The table of bad input: what is wrong, and what must be said of it; see `test_bad_input.py`."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.door import spoiling as s
from tests.door.spoiling import Words, World


@dataclass(frozen=True, kw_only=True)
class Row:
    """One kind of bad input.

    Attributes:
        name: what is wrong.
        words: prepares it and returns the command; a list has nothing to prepare.
        value, place, cure: what the error must name.
        boxed: the option parser's own error, in a box.
        mended: takes the cause away; then the same command must work.
    """

    name: str
    words: Callable[[World], Words]
    value: str
    place: str
    cure: str
    boxed: bool = False
    mended: Callable[[World], None] | None = None


_NO_DATA = "`resight render` and `resight pack` make data sets"
_NAMES = "name files PID_CAM_ANYTHING.jpg"
_AGAIN = "make it again"
_CHECKPOINT = "delete {here}/unfinished/checkpoints/"
_ROOM = "free some disk space and start the same command again"
_SHUT = "choose a folder that you may write to"

ERRORS = [
    Row(
        name="a folder that is missing, to pack",
        words=lambda w: w.pack(w.here / "nowhere"),
        value="no such folder",
        place="{here}/nowhere",
        cure="check the path",
    ),
    Row(
        name="a folder that is missing, to pack as Market-1501",
        words=lambda w: ["pack", "market1501", w.here / "nowhere", "--out", w.here / "packed"],
        value="no such folder",
        place="{here}/nowhere",
        cure="bounding_box_train",
    ),
    Row(
        name="a folder that is missing, to train on",
        words=lambda w: w.train(w.here / "nowhere"),
        value="data set is not there",
        place="{here}/nowhere",
        cure=_NO_DATA,
    ),
    Row(
        name="a run that is missing",
        words=lambda w: ["evaluate", w.here / "nowhere", "--data", w.data],
        value="no checkpoint here",
        place="{here}/nowhere",
        cure="train first",
    ),
    Row(
        name="a folder that is empty",
        words=lambda w: w.pack(w.here),
        value="holds no crops",
        place="{here}",
        cure=_NAMES,
    ),
    Row(
        name="only file names outside the grammar",
        words=s.only("holiday (1).jpg"),
        value="'holiday (1).jpg'",
        place="{here}/photos",
        cure=_NAMES,
    ),
    *(
        Row(
            name=name,
            words=s.beside(file, data),
            value=f"'{file}': {reason}",
            place="{here}/crops",
            cure="mend or remove them and start again, or leave them out with --max-bad-share 0.016",
        )
        for name, file, data, reason in (
            ("an unreadable JPEG", "0001_c1_9.jpg", b"not a picture", "neither JPEG nor PNG"),
            ("a truncated JPEG", "0001_c1_9.jpg", s.jpeg(1)[:1800], "JPEG: Premature end"),
            ("an empty file", "0001_c1_9.jpg", b"", "the file is empty"),
            ("a decompression bomb", "0001_c1_9.png", s.bomb(), "60000 x 60000 pixels are more than the limit"),
        )
    ),
    Row(
        name="identities with one image each, to judge",
        words=s.trained_and_judged(s.one_image_each),
        value="no split 'query', it has: train, gallery",
        place="{here}/packed",
        cure="query and gallery images",
    ),
    Row(
        name="one camera only, to judge across cameras",
        words=s.trained_and_judged(s.one_camera),
        value="11 of 11 queries have no possible match",
        place="market1501",
        cure="--protocol no_camera",
    ),
    Row(
        name="a list of test images only",
        words=lambda w: w.pack(s.no_camera(w, split="test")),
        value="the train split is empty",
        place="{here}/none",
        cure="the split 'train'",
    ),
    Row(
        name="a data set with no train split",
        words=s.tests_only,
        value="nothing to train on; splits: query, gallery",
        place="{here}/tests",
        cure="choose a data set with a train split",
    ),
    Row(
        name="fewer identities than P",
        words=lambda w: w.train(w.data, "--sampler.ids-per-batch", "64"),
        value="64 different identities and there are 5",
        place="{data}",
        cure="set sampler.ids_per_batch (now 64) to 5 or less",
    ),
    Row(
        name="an option with a typo",
        words=lambda w: w.train(w.data, "--optim.lrr", "1"),
        value="--optim.lrr",
        place="resight train --help",
        cure="--optim.lr FLOAT",
        boxed=True,
    ),
    Row(
        name="an option of the wrong type",
        words=lambda w: w.train(w.data, "--optim.lr", "fast"),
        value="'fast'",
        place="--optim.lr",
        cure="--optim.lr FLOAT",
        boxed=True,
    ),
    Row(
        name="a value out of range",
        words=lambda w: w.train(w.data, "--optim.lr", "-1"),
        value="optim.lr is -1.0",
        place="optim.lr",
        cure="use a value above 0",
    ),
    Row(
        name="a config file with a typo",
        words=s.config_with("ids_per_batch:", "id_per_batch:"),
        value="unknown key 'id_per_batch'",
        place="{here}/mine.yaml: sampler.id_per_batch",
        cure="did you mean 'ids_per_batch'?",
    ),
    Row(
        name="a config file with a wrong type",
        words=s.config_with("epochs: 2", "epochs: many"),
        value="run.epochs must be a whole number, not the text 'many'",
        place="{here}/mine.yaml: run.epochs",
        cure="give a whole number",
    ),
    Row(
        name="a config file that is no YAML",
        words=s.config_with("seed: 0", "seed: [0"),
        value="not readable YAML: expected ',' or ']'",
        place="{here}/mine.yaml, line 4",
        cure="mend that line",
    ),
    Row(
        name="a config file that is missing",
        words=lambda w: ["train", "--config", w.here / "mine.yaml", "--out", w.here / "run"],
        value="no config file",
        place="{here}/mine.yaml",
        cure="the config.yaml of a run folder",
    ),
    Row(
        name="a run of another architecture",
        words=lambda w: w.train(w.data, "--model.width", "4", out=w.run),
        value="model.width: was 2, is 4",
        place="{run}",
        cure="use another --out",
    ),
    Row(
        name="a checkpoint of another architecture",
        words=s.checkpoint_of_another_network,
        value="another configuration: model.width was 4 and is 2",
        place="{here}/unfinished/checkpoints/0002-",
        cure="another --out",
    ),
    Row(
        name="weights of another architecture",
        words=lambda w: w.train(
            w.data, "--model.weights", next(w.run.rglob("model.safetensors")), "--model.width", "4"
        ),
        value="60 of another shape: bn1.bias is (2,), not (4,)",
        place="model.safetensors",
        cure="set model.depth, model.width and model.ibn to those of the weights",
    ),
    Row(
        name="a checkpoint of another data set",
        words=s.checkpoint_of_other_people,
        value="another data set: num_classes was 11 and is 5",
        place="{here}/unfinished/checkpoints/0002-",
        cure="use the data set the run began with",
    ),
    *(
        Row(
            name=f"a checkpoint whose {name} is truncated, to {verb}",
            words=lambda w, name=name, words=words: words(w, s.spoilt_run(name)(w)),
            value=name,
            place=f"{{here}}/unfinished/checkpoints/0002-0000004/{name}",
            cure=_CHECKPOINT,
        )
        for name in ("model.safetensors", "state.json", "manifest.json")
        for verb, words in (
            ("go on from", lambda w, run: w.train(w.data, out=run)),
            ("judge", lambda w, run: ["evaluate", run, "--data", w.data]),
        )
    ),
    Row(
        name="an event file with rubbish",
        words=s.spoilt_events,
        value="not an event: 'rubbish",
        place="{here}/unfinished/events.jsonl, line 1",
        cure="remove the line",
    ),
    Row(
        name="a truncated shard, to train on",
        words=lambda w: w.train(s.spoilt_data("shards/train-000000.tar")(w)),
        value="shard 'train-000000' is truncated: it ends at byte",
        place="{here}/spoilt/shards/train-000000.tar",
        cure=_AGAIN,
    ),
    Row(
        name="a truncated shard, to judge on",
        words=lambda w: ["evaluate", w.copy_of(w.run), "--data", s.spoilt_data("shards/query-000000.tar")(w)],
        value="shard 'query-000000' is truncated: it ends at byte",
        place="{here}/spoilt/shards/query-000000.tar",
        cure=_AGAIN,
    ),
    Row(
        name="a truncated index",
        words=lambda w: w.train(s.spoilt_data("index.parquet")(w)),
        value="the index cannot be read",
        place="{here}/spoilt/index.parquet",
        cure="make the data set again",
    ),
    Row(
        name="a truncated card",
        words=lambda w: w.train(s.spoilt_data("dataset.json")(w)),
        value="dataset.json is not JSON",
        place="{here}/spoilt/dataset.json",
        cure="delete this file and start the command that made the data set again",
    ),
    Row(
        name="another data set into the same folder",
        words=lambda w: ["pack", "folder", s.good_crops(w.here / "other", ids=9), "--out", w.data],
        value="'train-000000' is already published with other settings: other files",
        place="{data}",
        cure="choose another folder",
    ),
    Row(
        name="a run into a data set's folder",
        words=lambda w: w.train(w.data, out=w.data),
        value="not a run folder, and it is not empty",
        place="{data}",
        cure="use another --out",
    ),
    Row(
        name="a path that is too long",
        words=lambda w: w.train(w.data, out=w.here / ("long" * 80)),
        value="File name too long",
        place="longlonglong",
        cure="choose a shorter path",
    ),
    Row(
        name="a full disk, packing",
        words=s.pack_on_a_full_disk,
        value="No space left on device",
        place="{here}/disk/packed",
        cure=_ROOM,
        mended=s.more_room,
    ),
    Row(
        name="a full disk, training",
        words=s.train_on_a_full_disk,
        value="No space left on device",
        place="{here}/disk/run",
        cure=_ROOM,
        mended=s.more_room,
    ),
    Row(
        name="a full disk, drawing",
        words=s.sheet_on_a_full_disk,
        value="could not write 'sheet.png': No space left on device",
        place="{here}/disk",
        cure=_ROOM,
        mended=s.more_room,
    ),
    Row(
        name="files that grow too large",
        words=s.beyond_a_file_size,
        value="could not write a scratch copy of 'train-000000': File too large",
        place="/",
        cure="ulimit -f",
    ),
    *(
        Row(
            name=f"a read-only folder: {words[0]} {words[1]}",
            words=s.in_a_read_only_folder(*words),
            value=f"could not write {value}: Read-only file system",
            place="{here}/read-only",
            cure=_SHUT,
        )
        for words, value in (
            (("pack", "folder", "CROPS", "--out", "OUT", "--workers", "1"), "'rows/train-000000.parquet'"),
            (("train", "strong_baseline", "--data", "DATA", "--out", "OUT", *s.QUICK), "the lease"),
            (("evaluate", "RUN", "--data", "DATA", "--quiet"), "'crops/0014_c2_1.jpg'"),
            (("report", "RUN"), "'report.html'"),
            (("data", "sheet", "DATA", "--out", "OUT", "--per-id", "2"), "'new'"),
        )
    ),
    Row(
        name="a loss that is not a number",
        words=s.nan,
        value="the loss is not finite (id nan, triplet nan) at step 2, epoch 0",
        place="rank 0 of 1, images folder/",
        cure="lower optim.lr",
    ),
]
