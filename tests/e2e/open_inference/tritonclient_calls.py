"""Every call of tritonclient, in a process of its own: `python tritonclient_calls.py KIND ADDRESS PICTURE`.

KIND is http, http.aio, grpc or grpc.aio. Prints a JSON object: for each call "ok" or the status of its error, and under
`values` what some of them returned.
"""

import asyncio
import importlib
import inspect
import json
import queue
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tritonclient.utils import InferenceServerException

Untyped = Any  # tritonclient has no annotations

BOSS = {"authorization": "Bearer boss"}


def main(kind: str, address: str, picture: Path) -> None:
    client = importlib.import_module(f"tritonclient.{kind}")
    inputs = importlib.import_module(f"tritonclient.{kind.partition('.')[0]}")
    results = asyncio.run(Calls(client, inputs, kind, address, picture.read_bytes()).run())
    sys.stdout.write(json.dumps(results))


class Calls:
    def __init__(self, module: Untyped, inputs: Untyped, kind: str, address: str, picture: bytes) -> None:
        self._module, self._inputs, self._kind, self._address = module, inputs, kind, address
        self._picture, self._over_http = picture, kind.startswith("http")
        self._results: dict[str, Any] = {"values": {}}

    async def run(self) -> dict[str, Any]:
        client = self._module.InferenceServerClient(self._address)
        await self._server(client)
        await self._infer(client)
        await self._infer_as_the_examples_of_triton(client)
        await self._infer_in_other_ways(client)
        await self._errors(client)
        await self._repository(client)
        closed = client.close()
        if inspect.isawaitable(closed):
            await closed
        return self._results

    async def _call(self, label: str, call: Callable[..., Any], *args: object, **kwargs: object) -> Untyped:
        try:
            result = call(*args, **kwargs)
            if isinstance(result, Awaitable):
                result = await result
        except InferenceServerException as error:
            self._results[label] = str(error.status())
            return None
        self._results[label] = "ok"
        return result

    async def _server(self, client: Untyped) -> None:
        call = self._call
        values = self._results["values"]
        values["live"] = await call("is_server_live", client.is_server_live)
        values["ready"] = await call("is_server_ready", client.is_server_ready)
        values["model ready"] = await call("is_model_ready", client.is_model_ready, "colour", "1")
        values["unknown ready"] = await call("is_model_ready, unknown model", client.is_model_ready, "nope")
        as_json = {} if self._over_http else {"as_json": True}
        await call("get_server_metadata", client.get_server_metadata, **as_json)
        metadata = await call("get_model_metadata", client.get_model_metadata, "colour", "1", **as_json)
        values["outputs"] = [output["name"] for output in metadata["outputs"]]
        await call("get_model_config", client.get_model_config, "colour.tensor", **as_json)
        await call("get_inference_statistics", client.get_inference_statistics, "colour", **as_json)
        await call("get_log_settings", client.get_log_settings)
        await call("update_log_settings", client.update_log_settings, {"log_info": True})
        await call("get_trace_settings", client.get_trace_settings)
        await call("update_trace_settings", client.update_trace_settings, None, {"trace_level": "OFF"})
        for kind, handle in (("system", "/key"), ("cuda", b"aaaa")):
            of = f"{kind}_shared_memory"
            place = (handle, 8) if kind == "system" else (handle, 0, 8)
            await call(f"get_{of}_status", getattr(client, f"get_{of}_status"))
            await call(f"register_{of}", getattr(client, f"register_{of}"), "region", *place)
            await call(f"unregister_{of}", getattr(client, f"unregister_{of}"))

    async def _infer(self, client: Untyped) -> None:
        one = [self._input([self._picture])]
        tensor = np.arange(2 * 3 * 8 * 8, dtype=np.float32).reshape(2, 3, 8, 8)
        result = await self._call("infer", client.infer, "colour", one, request_id="42", timeout=60_000_000, priority=1)
        self._keep("picture", result, ["label", "class_id", "score"])
        two = [self._input([[self._picture], [self._picture]])]
        result = await self._call("infer, two pictures", client.infer, "colour", two, model_version="1")
        self._keep("two pictures", result, ["count"])
        result = await self._call("infer, tensor", client.infer, "colour.tensor", [self._input(tensor, "FP32")])
        self._keep("tensor", result, ["logits"])
        result = await self._call("infer, FP16 tensor", client.infer, "colour.tensor", [self._input(tensor, "FP16")])
        self._keep("FP16 tensor", result, ["logits"])
        classes = [self._inputs.InferRequestedOutput("score", class_count=2)]
        result = await self._call("infer, classification", client.infer, "colour", one, outputs=classes)
        self._keep("classes", result, ["score"])

    async def _infer_as_the_examples_of_triton(self, client: Untyped) -> None:
        """What image_client.py and ensemble_image_client.py do: they read metadata and configuration first."""
        as_json = {} if self._over_http else {"as_json": True}
        metadata = await self._call(
            "get_model_metadata, tensors", client.get_model_metadata, "colour.tensor", **as_json
        )
        config = await self._call("get_model_config, tensors", client.get_model_config, "colour.tensor", **as_json)
        config = config.get("config", config)
        [described], [configured], [output] = metadata["inputs"], config["input"], metadata["outputs"]
        assert configured["format"] == "FORMAT_NCHW"
        assert output["datatype"] == "FP32"
        sides = [int(side) for side in configured["dims"]]
        assert [int(side) for side in described["shape"]] == [-1, *sides]
        batch = self._input(np.zeros((int(config["max_batch_size"]) and 2, *sides)), "FP32", described["name"])
        wanted = [self._inputs.InferRequestedOutput(output["name"], class_count=2)]
        result = await self._call("infer, as image_client.py", client.infer, "colour.tensor", [batch], outputs=wanted)
        self._keep("infer, as image_client.py", result, [output["name"]])

        metadata = await self._call("get_model_metadata", client.get_model_metadata, "colour", **as_json)
        names = [output["name"] for output in metadata["outputs"]]
        wanted = [self._inputs.InferRequestedOutput(name, class_count=1) for name in names]
        pictures = [self._input([[self._picture], [self._picture]], name=metadata["inputs"][0]["name"])]
        result = await self._call(
            "infer, as ensemble_image_client.py", client.infer, "colour", pictures, outputs=wanted
        )
        self._keep("infer, as ensemble_image_client.py", result, names)

    async def _infer_in_other_ways(self, client: Untyped) -> None:
        one = [self._input([self._picture])]
        for coding in ("gzip", "deflate"):
            compressed = {"request_compression_algorithm": coding, "response_compression_algorithm": coding}
            options = compressed if self._over_http else {"compression_algorithm": coding}
            result = await self._call(f"infer, {coding}", client.infer, "colour", one, **options)
            self._keep(coding, result, ["label"])
        if self._over_http:
            in_json = self._inputs.InferInput("image", [1, 3, 8, 8], "FP32")
            in_json.set_data_from_numpy(np.ones((1, 3, 8, 8), np.float32), binary_data=False)
            outputs = [self._inputs.InferRequestedOutput("logits", binary_data=False)]
            result = await self._call("infer, JSON", client.infer, "colour.tensor", [in_json], outputs=outputs)
            self._keep("JSON", result, ["logits"])
        if self._kind == "http":
            result = await self._call("async_infer", client.async_infer("colour", one).get_result)
        elif self._kind == "grpc":
            answers: queue.Queue[Any] = queue.Queue()
            client.async_infer("colour", one, lambda result, error: answers.put((result, error)))
            result = await self._call("async_infer", lambda: answers.get(timeout=60)[0])
        if not self._kind.endswith("aio"):
            self._keep("async_infer", result, ["label"])
        if not self._over_http:
            self._results["stream"] = await self._stream(client, one)

    async def _stream(self, client: Untyped, one: Sequence[Any]) -> list[str]:
        """Three requests, of which the second fails; "ok" or the message of each."""
        if self._kind == "grpc.aio":

            async def requests() -> AsyncIterator[dict[str, object]]:
                for name in ("colour", "nope", "colour"):
                    yield {"model_name": name, "inputs": one}

            return [str(error or "ok") async for _, error in client.stream_infer(requests())]
        answers: queue.Queue[Any] = queue.Queue()
        client.start_stream(lambda result, error: answers.put((result, error)))
        for name in ("colour", "nope", "colour"):
            client.async_stream_infer(name, one)
        found = [str(answers.get(timeout=60)[1] or "ok") for _ in range(3)]
        client.stop_stream()
        return found

    async def _errors(self, client: Untyped) -> None:
        call, one = self._call, [self._input([self._picture])]
        await call("infer, unknown model", client.infer, "nope", one)
        await call("infer, unknown version", client.infer, "colour", one, model_version="9")
        await call("infer, unknown input", client.infer, "colour", [self._input([b"x"], name="zzz")])
        await call("infer, no input", client.infer, "colour", [])
        await call("infer, wrong datatype", client.infer, "colour.tensor", [self._input([[1.0]], "FP64")])
        await call("infer, wrong shape", client.infer, "colour.tensor", [self._input([[1.0]], "FP32")])
        await call("infer, bad picture", client.infer, "colour", [self._input([self._picture, b"x"])])
        unknown = [self._inputs.InferRequestedOutput("y")]
        await call("infer, unknown output", client.infer, "colour", one, outputs=unknown)
        await call("infer, too late", client.infer, "colour", one, timeout=1)
        shared = self._inputs.InferInput("image", [1], "BYTES")
        shared.set_shared_memory("region", 8)
        await call("infer, shared memory", client.infer, "colour", [shared])
        await call("get_model_metadata, unknown model", client.get_model_metadata, "nope")
        await call("get_model_config, unknown model", client.get_model_config, "nope")
        await call("get_inference_statistics, unknown model", client.get_inference_statistics, "nope")

    async def _repository(self, client: Untyped) -> None:
        call = self._call
        await call("get_model_repository_index", client.get_model_repository_index)
        await call("load_model, no key", client.load_model, "other")
        await call("load_model", client.load_model, "other", headers=BOSS)
        await call("load_model, unknown model", client.load_model, "nope", headers=BOSS)
        await call("load_model, config", client.load_model, "other", headers=BOSS, config="{}")
        await call("unload_model", client.unload_model, "other", headers=BOSS)
        await call("unload_model, default model", client.unload_model, "colour", headers=BOSS)

    def _input(self, data: object, datatype: str = "BYTES", name: str = "image") -> Untyped:
        dtypes = {"BYTES": object, "FP16": np.float16, "FP32": np.float32, "FP64": np.float64}
        array = np.array(data, dtypes[datatype])
        tensor = self._inputs.InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array)
        return tensor

    def _keep(self, label: str, result: Untyped, names: Sequence[str]) -> None:
        if result is not None:
            arrays = {name: result.as_numpy(name).tolist() for name in names}
            self._results["values"][label] = json.loads(json.dumps(arrays, default=bytes.decode))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
