"""The calls of kserve's clients, in an environment of their own: `python kserve_calls.py HTTP_PORT GRPC_PORT PICTURE`.

Prints a JSON object: for REST and, unless its port is 0, gRPC: what each call returned, or the status of its error.
"""

import asyncio
import base64
import json
import sys
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from grpc.aio import AioRpcError
from httpx import HTTPStatusError
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig

Untyped = Any
NO_PORT = "0"


async def main(http_port: str, grpc_port: str, picture: bytes) -> dict[str, Mapping[str, object]]:
    inputs = requests(picture)
    found: dict[str, Mapping[str, object]] = {"REST": await rest(f"http://127.0.0.1:{http_port}", inputs)}
    return found if grpc_port == NO_PORT else found | {"gRPC": await grpc(grpc_port, inputs)}


def requests(picture: bytes) -> dict[str, Untyped]:
    as_bytes = InferInput("image", [1], "BYTES")
    as_bytes.set_data_from_numpy(np.array([picture], object), binary_data=True)
    as_text = InferInput("image", [1], "BYTES", data=[base64.b64encode(picture).decode()])
    in_message = InferInput("image", [1], "BYTES", data=[picture])
    ones = np.ones((1, 3, 8, 8), np.float32)
    tensor, tensor_in_json = InferInput("image", [1, 3, 8, 8], "FP32"), InferInput("image", [1, 3, 8, 8], "FP32")
    tensor.set_data_from_numpy(ones, binary_data=True)
    tensor_in_json.set_data_from_numpy(ones, binary_data=False)
    return {
        "picture": InferRequest("colour", [as_bytes]),
        "picture in base64": InferRequest("colour", [as_text]),
        "picture in contents": InferRequest("colour", [in_message]),
        "tensor": InferRequest("colour.tensor", [tensor]),
        "tensor in JSON": InferRequest("colour.tensor", [tensor_in_json]),
        "unknown model": InferRequest("nope", [as_bytes]),
        "wrong input": InferRequest("colour", [tensor]),
    }


async def rest(base: str, inputs: Mapping[str, Untyped]) -> dict[str, object]:
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    found = {
        "is_server_live": await result(client.is_server_live(base)),
        "is_server_ready": await result(client.is_server_ready(base)),
        "is_model_ready": await result(client.is_model_ready(base, "colour")),
    }
    for name in [name for name in inputs if name != "picture in contents"]:
        request = inputs[name]
        found[f"infer, {name}"] = await result(client.infer(base, request, model_name=request.model_name))
    await client.close()
    return found


async def grpc(port: str, inputs: Mapping[str, Untyped]) -> dict[str, object]:
    client = InferenceGRPCClient(f"127.0.0.1:{port}", retries=0)
    found = {
        "is_server_live": await result(client.is_server_live()),
        "is_server_ready": await result(client.is_server_ready()),
        "is_model_ready": await result(client.is_model_ready("colour")),
    }
    for name in [name for name in inputs if name not in ("picture in base64", "tensor in JSON")]:
        found[f"infer, {name}"] = await result(client.infer(inputs[name]))
    await client.close()
    return found


async def result(call: Awaitable[Untyped]) -> object:
    try:
        answer = await call
    except HTTPStatusError as error:
        return str(error.response.status_code)
    except AioRpcError as error:
        return error.code().name
    if isinstance(answer, bool):
        return answer
    first = answer.outputs[0].as_numpy().reshape(-1)[0]
    return first.decode() if isinstance(first, bytes) else str(first)


if __name__ == "__main__":
    found = asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]).read_bytes()))
    sys.stdout.write(json.dumps(found, default=str))
