"""In a container of a secured cluster: HDFS by the tokens that YARN gave it, by every client, without a ticket."""

import os
import subprocess
from pathlib import Path

import hdfs_native
import tony_task

# Whatever ticket lies on this machine is none of this program's. (An empty file of tickets lets hdfs-native crash.)
os.environ["KRB5CCNAME"] = f"FILE:{Path.cwd()}/no-tickets"
folder, other = os.environ["TONY_PARAM_FOLDER"], os.environ["TONY_PARAM_OTHER"]
rank = os.environ["RANK"]
dfs = [f"{os.environ['HADOOP_HOME']}/bin/hdfs", "dfs"]

subprocess.run([*dfs, "-put", "-f", "-", f"{folder}/by-command-{rank}"], input=b"command", check=True)
read = subprocess.run([*dfs, "-cat", f"{folder}/by-command-{rank}"], capture_output=True, check=True).stdout
assert read == b"command", read
for authority in (os.environ["TONY_PARAM_DEFAULT"], other):
    client = hdfs_native.Client(f"hdfs://{authority}")
    path = f"{folder.partition('//')[2]}/native-{authority.partition(':')[0]}-{rank}"
    with client.create(path) as stream:
        stream.write(b"native")
    assert client.read(path).read(-1) == b"native"

assert len(Path(os.environ["TONY_SECRETS_DIR"], "note").read_text()) > 10
if rank == "0":
    tony_task.save_checkpoint(1, b"state")
    saved = tony_task.latest_checkpoint()
    assert saved is not None
    assert saved.read() == b"state"
    tony_task.save_output("model.bin", b"model")
