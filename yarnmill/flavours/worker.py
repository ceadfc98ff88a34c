"""The program of a process that answers for a model with code of its own, and the language that it is spoken to in.

It runs under the Python of the model's environment, where YarnMill is not installed: the standard library and NumPy
are all it may import. A message is a header in JSON and the bytes of the arrays that it names: nothing is unpickled.
"""

import importlib
import json
import math
import os
import queue
import socket
import struct
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_LENGTHS = struct.Struct("<IQ")
_LONGEST_HEADER = 1 << 28

Message = tuple[dict[str, Any], memoryview]


def send(connection: socket.socket, header: Mapping[str, Any], columns: Mapping[str, Any]) -> None:
    """Send a header with columns: arrays as their bytes, text and mappings of terms to numbers as JSON."""
    described, buffers = [], []
    for name, column in columns.items():
        if isinstance(column, np.ndarray) and column.dtype.kind in "iufb":
            array = np.ascontiguousarray(column)
            described.append({"name": name, "dtype": array.dtype.str, "shape": array.shape})
            buffers.append(array.tobytes())
        elif isinstance(column, np.ndarray):
            described.append({"name": name, "text": column.tolist()})
        else:
            described.append({"name": name, "cells": list(column)})
    head = json.dumps({**header, "columns": described}).encode()
    body = b"".join(buffers)
    connection.sendall(_LENGTHS.pack(len(head), len(body)) + head + body)


def receive(connection: socket.socket, receive_some: Any = None) -> Message | None:  # noqa: ANN401  # as recv_into
    """Return the next message; None if the other side has ended before it.

    ``receive_some`` fills a part of a buffer and returns how much, as ``connection.recv_into`` does.
    """
    fill = receive_some or connection.recv_into
    lengths = _exactly(fill, _LENGTHS.size)
    if lengths is None:
        return None
    of_head, of_body = _LENGTHS.unpack(lengths)
    if of_head > _LONGEST_HEADER:
        raise ValueError("no message of this language")
    head, body = _exactly(fill, of_head), _exactly(fill, of_body)
    if head is None or body is None:
        return None
    return json.loads(bytes(head)), body


def columns_of(message: Message) -> dict[str, Any]:
    """Return the columns of a message."""
    header, body = message
    columns, start = {}, 0
    for one in header["columns"]:
        if "dtype" in one:
            dtype, shape = np.dtype(one["dtype"]), tuple(one["shape"])
            size = dtype.itemsize * math.prod(shape)
            columns[one["name"]] = np.frombuffer(body[start : start + size], dtype).reshape(shape)
            start += size
        else:
            columns[one["name"]] = np.array(one["text"], dtype=np.str_) if "text" in one else one["cells"]
    return columns


def _exactly(fill: Any, size: int) -> memoryview | None:  # noqa: ANN401  # as recv_into
    buffer = memoryview(bytearray(size))
    done = 0
    while done < size:
        count = fill(buffer[done:])
        if count == 0:
            return None
        done += count
    return buffer


def _read_ahead(connection: socket.socket, messages: "queue.SimpleQueue[Message]") -> None:
    """Pass messages on; when whoever asks has ended, so does this process, in whatever the model is."""
    while (message := receive(connection)) is not None:
        messages.put(message)
    os._exit(0)


def _load(folder: str, code: str, entry: str) -> Any:  # noqa: ANN401  # the model's own class
    sys.path.insert(0, code)
    module, _, name = entry.partition(":")
    return getattr(importlib.import_module(module), name)(folder)


def _said(problem: BaseException) -> str:
    return f"{type(problem).__name__}: {problem}"


def main(arguments: Sequence[str]) -> None:
    """Load ``entry`` from the code's folder and answer until the connection ends."""
    number, folder, code, entry = arguments
    connection = socket.socket(fileno=int(number))
    os.dup2(2, 1)  # what the model prints is no answer
    messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_read_ahead, args=(connection, messages), daemon=True).start()
    try:
        model = _load(folder, code, entry)
    except Exception as problem:  # noqa: BLE001  # whatever the model's code raises
        send(connection, {"error": _said(problem)}, {})
        return
    send(connection, {"ready": sys.version.split()[0], "native": getattr(model, "native_description", None)}, {})
    while True:
        columns = columns_of(messages.get())
        try:
            outputs = {str(name): np.asarray(values) for name, values in model.predict(columns).items()}
        except Exception as problem:  # noqa: BLE001  # likewise
            send(connection, {"error": _said(problem)}, {})
        else:
            send(connection, {}, outputs)


if __name__ == "__main__":
    main(sys.argv[1:])
