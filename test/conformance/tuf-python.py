"""The reference implementation of TUF, driven by tuf-python.test.ts.

    tuf-python.py pull URL ROOT FOLDER          downloads every target of a repository
    tuf-python.py write FOLDER NAME=CONTENT...  writes a repository, its root in FOLDER/root.json
"""

import datetime
import hashlib
import json
import pathlib
import sys

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.ngclient import Updater


def pull(url: str, root: str, folder: str) -> None:
    base = pathlib.Path(folder)
    (base / "metadata").mkdir(parents=True)
    (base / "targets").mkdir()
    updater = Updater(
        metadata_dir=str(base / "metadata"),
        metadata_base_url=f"{url}/metadata/",
        target_dir=str(base / "targets"),
        target_base_url=f"{url}/targets/",
        bootstrap=pathlib.Path(root).read_bytes(),
    )
    updater.refresh()
    targets = json.loads((base / "metadata" / "targets.json").read_bytes())["signed"]["targets"]
    for name in targets:
        info = updater.get_targetinfo(name)
        path = updater.download_target(info)
        print(json.dumps({"name": name, "path": path, "custom": info.custom}))


def write(folder: str, targets: dict[str, bytes]) -> None:
    base = pathlib.Path(folder)
    expires = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(days=2)
    signers = {
        "root": [CryptoSigner.generate_ed25519(), CryptoSigner.generate_ecdsa(), CryptoSigner.generate_rsa()],
        "targets": [CryptoSigner.generate_ecdsa()],
        "snapshot": [CryptoSigner.generate_ed25519()],
        "timestamp": [CryptoSigner.generate_ed25519()],
    }
    root = Root(expires=expires, consistent_snapshot=True)
    for role, each in signers.items():
        for signer in each:
            root.add_key(signer.public_key, role)
    root.roles["root"].threshold = 2

    def put(name: str, signed: object, role: str) -> bytes:
        metadata = Metadata(signed)
        for signer in signers[role]:
            metadata.sign(signer, append=True)
        content = metadata.to_bytes()
        path = base / "metadata" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return content

    first = put("1.root.json", root, "root")
    (base / "root.json").write_bytes(first)
    # A second root with one other root key: the chain is followed over a threshold of two.
    old = signers["root"][2]
    root.version = 2
    root.revoke_key(old.public_key.keyid, "root")
    fresh = CryptoSigner.generate_ed25519()
    root.add_key(fresh.public_key, "root")
    signers["root"][2] = fresh
    put("2.root.json", root, "root")

    listed = Targets(expires=expires)
    for name, content in targets.items():
        info = TargetFile.from_data(name, content, ["sha256", "sha512"])
        listed.targets[name] = info
        parent, _, file = name.rpartition("/")
        for digest in info.hashes.values():
            path = base / "targets" / parent / f"{digest}.{file}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    content = put("1.targets.json", listed, "targets")
    snapshot = Snapshot(expires=expires, meta={"targets.json": MetaFile.from_data(1, content, ["sha256"])})
    content = put("1.snapshot.json", snapshot, "snapshot")
    timestamp = Timestamp(expires=expires, snapshot_meta=MetaFile.from_data(1, content, ["sha512"]))
    put("timestamp.json", timestamp, "timestamp")
    print(json.dumps({name: hashlib.sha256(data).hexdigest() for name, data in targets.items()}))


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "pull":
        pull(*rest)
    else:
        pairs = (pair.partition("=") for pair in rest[1:])
        write(rest[0], {name: content.encode() for name, _, content in pairs})
