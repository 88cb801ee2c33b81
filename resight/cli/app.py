"""From arguments to a verb, and from an error to an exit code.

Exit codes: 0 done; 1 done, but the answer is no (a check failed, a result did not hold); 2 the user can mend it, told
in words and without a traceback; 130 interrupted (training saves first; at SIGTERM it saves too, and returns 0).

tyro builds each verb's options from its dataclass. Only the verb that is named is imported, so that help is instant.
"""

import importlib
import inspect
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import tyro

from resight.cli.place import refuse_urls_as_paths
from resight.cluster.errors import UserError, did_you_mean
from resight.cluster.refusal import explained
from resight.terminal import show, show_error, show_interrupt, show_list

__all__ = ["VERBS", "Verb", "parse", "run", "verb_class"]

VERBS: Final = {
    "demo": ("demo", "Demo", "render people, train, judge on unseen people, write a report"),
    "render": ("render", "Render", "make people from a seed, with every label"),
    "body convert": ("body", "Convert", "bring in an SMPL, SMPL-H or SMPL-X file of your own"),
    "body show": ("body", "Show", "measure a body, draw it dressed in five poses"),
    "pack": ("pack", "Pack", "bring a data set into shards with an index"),
    "data list": ("data", "List", "the data sets that can be packed, with sizes, terms and citations"),
    "data check": ("data", "Check", "verify a data set and count what is in it"),
    "data sheet": ("data", "Sheet", "draw a contact sheet of a data set"),
    "train": ("train", "Train", "train a recipe; the same command again continues"),
    "evaluate": ("evaluate", "Evaluate", "judge a run on people it has never seen"),
    "report": ("report", "Report", "write one self-contained page about a run, or compare runs"),
    "embed": ("embed", "Embed", "turn the images of a data set into features"),
    "index": ("index", "Index", "make an index of features; add to it, check it, forget people"),
    "search": ("search", "Search", "find a person in an index; a page of pictures"),
    "doctor": ("doctor", "Doctor", "check whether this machine is ready"),
}
"""verb -> (module in resight.cli, class, one line of help)."""

_STYLE = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff, tyro.conf.PositionalMetavarFromFieldName)


class Verb(Protocol):
    """A parsed command."""

    def run(self) -> int:
        """Do it and return the exit code."""
        ...


def verb_class(name: str) -> type[Any]:
    """Import the dataclass that holds a verb's options."""
    module, kind, _ = VERBS[name]
    return getattr(importlib.import_module(f"resight.cli.{module}"), kind)


def parse(argv: Sequence[str]) -> Verb:
    """Turn arguments into a verb; leaves the process with 0 for --help and with 2 for a mistake, as tyro does.

    Raises:
        UserError: for a verb that does not exist.
    """
    name = next((verb for verb in VERBS if list(argv[: len(verb.split())]) == verb.split()), None)
    if name is None:
        return _overview(argv)
    rest = list(argv[len(name.split()) :])
    if name == "train":
        from resight.cli.train import parse_train

        return parse_train(rest)
    kind = verb_class(name)
    description = inspect.cleandoc(kind.__doc__ or "")
    return cast(Verb, tyro.cli(kind, args=rest, prog=f"resight {name}", description=description, config=_STYLE))


def run(argv: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        if list(argv) == ["--version"]:
            from resight import __version__

            show(f"resight {__version__}")
            return 0
        verb = parse(argv)
        refuse_urls_as_paths(verb)
        return verb.run()
    except UserError as error:
        show_error(error)
        return 2
    except KeyboardInterrupt as interrupt:
        show_interrupt(str(interrupt))
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:
        told = explained(error)
        if told is None:
            raise
        show_error(told)
        return 2


@dataclass(frozen=True)
class _Overview:
    """Shows all verbs."""

    def run(self) -> int:
        show(_ABOUT)
        show_list([(verb, help_text) for verb, (_, _, help_text) in VERBS.items()])
        return 0


def _overview(argv: Sequence[str]) -> Verb:
    """Show all verbs, or say which one was meant."""
    group = [verb for verb in VERBS if argv and verb.startswith(f"{argv[0]} ")]
    if not argv or argv[0] in ("-h", "--help", "help") or (group and argv[1:] in ([], ["-h"], ["--help"])):
        return _Overview()
    given = " ".join(argv[: 2 if group else 1])
    raise UserError(f"there is no verb {given!r}", where="resight", cure=did_you_mean(given, group or VERBS))


_ABOUT = """Train, adapt, tune and serve models that recognise a person seen before.

First ten minutes: resight demo
Own pictures:      resight pack, train, evaluate, report, in this order
Options, examples: resight VERB --help
"""
