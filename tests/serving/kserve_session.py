"""What a user of KServe's client asks for, in both of its protocols, run by the client itself against a tier's URL.

Prints one JSON object with what was seen. It runs in the client's own environment and imports nothing of the platform.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable
from typing import Any

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

URL, MODEL = sys.argv[1], "rater"
ROWS = [{"user_id": 7, "features": [1.0, 2.0]}, {"user_id": 0, "features": [0.0, 0.0]}]


async def refusal(asked: Awaitable[object]) -> tuple[int, str] | None:
    try:
        await asked
    except httpx.HTTPStatusError as error:
        return error.response.status_code, str(error)
    return None


async def first_protocol(seen: dict[str, Any]) -> None:
    async with InferenceRESTClient(RESTConfig(protocol="v1")) as client:
        seen["v1 server"] = await client.is_server_live(URL)
        seen["v1 ready"] = await client.is_model_ready(URL, MODEL)
        headers: dict[str, str] = {}
        seen["v1"] = await client.infer(URL, {"instances": ROWS}, MODEL, response_headers=headers)
        seen["v1 version"] = headers["x-model-version"]
        seen["v1 bad row"] = await refusal(client.infer(URL, {"instances": [{"user_id": "x"}]}, MODEL))
        seen["v1 nobody"] = await refusal(client.is_model_ready(URL, "nobody"))


def asked(*, binary: bool) -> InferRequest:
    inputs = [InferInput("user_id", [2], "INT64"), InferInput("features", [2, 2], "FP32")]
    inputs[0].set_data_from_numpy(np.array([7, 0]), binary_data=binary)
    inputs[1].set_data_from_numpy(np.array([[1, 2], [0, 0]], np.float32), binary_data=binary)
    return InferRequest(MODEL, inputs, request_id="one", parameters={"binary_data_output": binary})


async def second_protocol(seen: dict[str, Any]) -> None:
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        seen["v2 server"] = [await client.is_server_live(URL), await client.is_server_ready(URL)]
        seen["v2 ready"] = [await client.is_model_ready(URL, name) for name in (MODEL, "nobody")]
        for kind in ("json", "binary"):
            headers: dict[str, str] = {}
            answer = await client.infer(URL, asked(binary=kind == "binary"), MODEL, response_headers=headers)
            score = answer.get_output_by_name("score")
            came_as = "binary" if "inference-header-content-length" in headers else "json"
            version = headers["x-model-version"]
            seen[f"v2 {kind}"] = [answer.id, version, score.datatype, score.as_numpy().tolist(), came_as]
        wrong = InferRequest(MODEL, [InferInput("user_id", [1], "BYTES", data=["x"])])
        seen["v2 bad input"] = await refusal(client.infer(URL, wrong, MODEL))


async def main() -> None:
    seen: dict[str, Any] = {}
    await first_protocol(seen)
    await second_protocol(seen)
    print(json.dumps(seen))  # noqa: T201  # what the test reads


asyncio.run(main())
