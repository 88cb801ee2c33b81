"""Readers: what each public layout of a re-identification data set means, one file a layout.

A reader looks at names and lists only; the pixels are looked at when the data set is packed.
"""

from resight.datasets.readers.folder import Folder
from resight.datasets.readers.market1501 import Market1501
from resight.datasets.readers.scan import Reader, Scan, Source

__all__ = ["READERS", "Folder", "Market1501", "Reader", "Scan", "Source"]

READERS: dict[str, Reader] = {
    "market1501": Market1501(),
    "folder": Folder(),
}
"""Reader of each layout, by the name the command line uses."""
