"""Runs code in a kernel as a browser would: over HTTP and a websocket. Usage: kernel.py ADDRESS CODE.

The address brings the token; the environment is Jupyter's own, which has tornado.
"""

import asyncio
import json
import sys
from urllib.parse import parse_qs, urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import websocket_connect


async def main(address: str, code: str) -> None:
    parts = urlsplit(address)
    headers = {"Authorization": f"token {parse_qs(parts.query)['token'][0]}"}
    base = f"http://{parts.netloc}"
    answer = await AsyncHTTPClient().fetch(f"{base}/api/kernels", method="POST", body="{}", headers=headers)
    kernel = json.loads(answer.body)["id"]
    way = await websocket_connect(
        HTTPRequest(f"ws://{parts.netloc}/api/kernels/{kernel}/channels", headers={**headers, "Origin": base})
    )
    message = {
        "header": {"msg_id": "1", "msg_type": "execute_request", "session": "s", "username": "", "version": "5.3"},
        "parent_header": {},
        "metadata": {},
        "channel": "shell",
        "content": {"code": code, "silent": False},
    }
    await way.write_message(json.dumps(message))
    while True:
        said = json.loads(await way.read_message() or "{}")
        if said.get("msg_type") == "stream":
            print(said["content"]["text"].strip())  # noqa: T201  # a program
            return
        if said.get("msg_type") == "error":
            raise SystemExit("\n".join(said["content"]["traceback"]))


asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 60))
