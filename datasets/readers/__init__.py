"""Readers: what each public layout of a re-identification data set means, one file a layout.

A reader looks at names and lists only; the pixels are looked at when the data set is packed.
"""

from resight.datasets.readers.about import About, Size
from resight.datasets.readers.ccvid import Ccvid
from resight.datasets.readers.celeb_reid import (
    CELEB_REID,
    CELEB_REID_BLUR,
    CELEB_REID_LIGHT,
    CELEB_REID_LIGHT_BLUR,
    CelebReid,
)
from resight.datasets.readers.cuhk03 import CUHK03_DETECTED, CUHK03_LABELED, Cuhk03
from resight.datasets.readers.deepchange import DeepChange
from resight.datasets.readers.dukemtmc import DukeMtmc
from resight.datasets.readers.folder import Folder
from resight.datasets.readers.last import LaST
from resight.datasets.readers.ltcc import Ltcc
from resight.datasets.readers.luperson import LuPerson
from resight.datasets.readers.market1501 import MARKET1501, MARKET1501_500K, Market1501
from resight.datasets.readers.msmt17 import MSMT17, MSMT17_V2, MSMT17_V2_VAL, MSMT17_VAL, Msmt17
from resight.datasets.readers.occluded_duke import OccludedDuke
from resight.datasets.readers.personx import PersonX
from resight.datasets.readers.prcc import Prcc
from resight.datasets.readers.randperson import RandPerson
from resight.datasets.readers.scan import Reader, Scan, Source
from resight.datasets.readers.vc_clothes import VcClothes
from resight.datasets.readers.vehicleid import VEHICLEID_800, VEHICLEID_1600, VEHICLEID_2400, VehicleId
from resight.datasets.readers.veri776 import Veri776
from resight.datasets.readers.viper import Viper

__all__ = [
    "READERS",
    "About",
    "Ccvid",
    "CelebReid",
    "Cuhk03",
    "DeepChange",
    "DukeMtmc",
    "Folder",
    "LaST",
    "Ltcc",
    "LuPerson",
    "Market1501",
    "Msmt17",
    "OccludedDuke",
    "PersonX",
    "Prcc",
    "RandPerson",
    "Reader",
    "Scan",
    "Size",
    "Source",
    "VcClothes",
    "VehicleId",
    "Veri776",
    "Viper",
]

READERS: dict[str, Reader] = {
    "market1501": MARKET1501,
    "market1501_500k": MARKET1501_500K,
    "dukemtmc": DukeMtmc(),
    "occluded_duke": OccludedDuke(),
    "cuhk03_detected": CUHK03_DETECTED,
    "cuhk03_labeled": CUHK03_LABELED,
    "msmt17": MSMT17,
    "msmt17_val": MSMT17_VAL,
    "msmt17_v2": MSMT17_V2,
    "msmt17_v2_val": MSMT17_V2_VAL,
    "ltcc": Ltcc(),
    "prcc": Prcc(),
    "celeb_reid": CELEB_REID,
    "celeb_reid_light": CELEB_REID_LIGHT,
    "celeb_reid_blur": CELEB_REID_BLUR,
    "celeb_reid_light_blur": CELEB_REID_LIGHT_BLUR,
    "deepchange": DeepChange(),
    "vc_clothes": VcClothes(),
    "last": LaST(),
    "ccvid": Ccvid(),
    "veri776": Veri776(),
    "vehicleid_800": VEHICLEID_800,
    "vehicleid_1600": VEHICLEID_1600,
    "vehicleid_2400": VEHICLEID_2400,
    "luperson": LuPerson(),
    "personx": PersonX(),
    "randperson": RandPerson(),
    "viper": Viper(),
    "folder": Folder(),
}
"""Reader of each layout, by the name the command line uses."""
