"""A whole OpenStack Swift with its S3 interface in one process: no root, no memcached. Run by a Python that has Swift.

Arguments: an empty folder, on a file system with extended attributes, and a port. Says READY when it serves.
Keys: access `test:tester` with secret `testing`; `test:guest` with `guessing` may do nothing to the other's buckets.
"""

import importlib
import sys
import warnings
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")  # eventlet announces its end at every start
eventlet: Any = importlib.import_module("eventlet")
eventlet.patcher.monkey_patch()
rings: Any = importlib.import_module("swift.common.ring")
swift_utils: Any = importlib.import_module("swift.common.utils")
swift_wsgi: Any = importlib.import_module("swift.common.wsgi")

SERVERS = ("account", "container", "object")

COMMON = """[DEFAULT]
devices = {root}/srv
mount_check = false
swift_dir = {root}/etc
disable_fallocate = true
"""

STORE = (
    COMMON
    + """[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""
)

PROXY = (
    COMMON
    + """[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck listing_formats s3api tempauth slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
node_timeout = 60
conn_timeout = 10
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
check_bucket_owner = false
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
user_test_guest = guessing
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""
)


def main(root: Path, port: int) -> None:
    """Serve until standard input ends."""
    etc = root / "etc"
    etc.mkdir(parents=True)
    (root / "srv" / "disk").mkdir(parents=True)
    (etc / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = s\nswift_hash_path_prefix = p\n"
        "[storage-policy:0]\nname = p0\ndefault = yes\n"
    )
    swift_utils.SWIFT_CONF_FILE = str(etc / "swift.conf")
    swift_utils.validate_hash_conf()
    importlib.import_module("swift.common.storage_policy").reload_storage_policies()
    sockets = {name: eventlet.listen(("127.0.0.1", 0)) for name in SERVERS}
    for name, socket in sockets.items():
        builder = rings.RingBuilder(6, 1, 0)
        place = {"region": 1, "zone": 1, "ip": "127.0.0.1", "port": socket.getsockname()[1]}
        builder.add_dev({"id": 0, "weight": 1.0, "device": "disk", "meta": "", **place})
        builder.rebalance()
        builder.get_ring().save(str(etc / f"{name}.ring.gz"))
    for name in SERVERS:
        serve(sockets[name], etc / f"{name}-server.conf", STORE.format(root=root, name=name))
    serve(eventlet.listen(("127.0.0.1", port)), etc / "proxy-server.conf", PROXY.format(root=root))
    sys.stdout.write("READY\n")
    sys.stdout.flush()
    eventlet.tpool.execute(sys.stdin.read)


def serve(socket: Any, path: Path, text: str) -> None:
    path.write_text(text)
    app = swift_wsgi.loadapp(str(path))
    eventlet.spawn(eventlet.wsgi.server, socket, app, log_output=False)


if __name__ == "__main__":
    importlib.import_module("eventlet.wsgi")
    importlib.import_module("eventlet.tpool")
    main(Path(sys.argv[1]), int(sys.argv[2]))
