"""A small program as TonY's users have them: it finds everything in TonY's variables, and needs no framework.

A parameter server adds up what the workers send it, and never ends by itself; workers send, wait until all
have sent, and leave what they saw where the test looks.
"""

import json
import os
import socket
import sys
import time
from pathlib import Path

NAME, INDEX = os.environ["JOB_NAME"], int(os.environ["TASK_INDEX"])
CLUSTER = json.loads(os.environ["CLUSTER_SPEC"])


def serve() -> None:
    """Be the parameter server, for ever."""
    server = socket.create_server(("", int(CLUSTER["ps"][INDEX].rpartition(":")[2])))
    total = 0
    while True:
        connection, _ = server.accept()
        with connection:
            total += int(connection.recv(64))
            connection.sendall(str(total).encode())


def send(value: int) -> int:
    """Tell the first parameter server a value, and return its sum."""
    host, _, port = CLUSTER["ps"][0].rpartition(":")
    for _ in range(300):
        try:
            with socket.create_connection((host, int(port)), timeout=10) as connection:
                connection.sendall(str(value).encode())
                return int(connection.recv(64))
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise TimeoutError(f"no parameter server at {host}:{port}")


def work() -> None:
    """Send, wait for the others, and say what was seen."""
    task = json.loads(os.environ["TF_CONFIG"])["task"]
    if task != {"type": NAME, "index": INDEX}:
        raise ValueError(f"TF_CONFIG says {task}")
    workers = len(CLUSTER["worker"])
    send(10**INDEX)
    expected = sum(10**index for index in range(workers))
    while (total := send(0)) != expected:
        time.sleep(0.05)
    names = ("TASK_NUM", "IS_CHIEF", "TB_PORT", "SESSION_ID", "JOB_ID", "DISTRIBUTED_MODE", "GREETING", "TB_LOG_DIR")
    seen = {name: os.environ[name] for name in names if name in os.environ}
    seen |= {"total": total, "arguments": sys.argv[1:], "python": sys.executable}
    Path(os.environ["SEEN"], f"{NAME}-{INDEX}.json").write_text(json.dumps(seen))


serve() if NAME == "ps" else work()
