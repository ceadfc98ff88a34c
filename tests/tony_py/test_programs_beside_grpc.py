"""Programs start well in a process that speaks gRPC, as the driver's does: gRPC aborted one of some hundred of them."""

import subprocess
import sys

import pytest

START_MANY = """
import collections
from tony_py.driver.containers import import_skein
import_skein()
import grpc
from tony_py.executor.program import Program

channel = grpc.insecure_channel("127.0.0.1:1")
try:
    channel.unary_unary("/service/call")(b"", timeout=0.3)  # from now on its poller is there
except grpc.RpcError:
    pass
codes = collections.Counter()
for _ in range(500):
    program = Program("exec true", {}, "/")
    while not program.wait(0.2):
        pass
    codes[program.exit_code] += 1
print(dict(codes))
"""


@pytest.mark.slow
def test_every_program_comes_to_its_own_end() -> None:
    done = subprocess.run([sys.executable, "-c", START_MANY], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout == "{0: 500}\n"
