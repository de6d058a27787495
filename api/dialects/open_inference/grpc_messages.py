"""The protocol's messages for gRPC, which the package tritonclient ships."""

from typing import Any

from google.protobuf.json_format import ParseDict
from tritonclient.grpc import service_pb2

from api.dialects.open_inference import codec
from api.dialects.open_inference.inference import Inference
from api.dialects.open_inference.messages import InferRequest, RequestedOutput, class_count
from api.problems import InvalidRequestError, NotSupportedError

Message = Any  # the generated classes have no annotations

# The field of InferTensorContents for each datatype; FP16 and BF16 have none.
_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def message(kind: str, content: dict[str, Any]) -> Message:
    """`content`: as in JSON."""
    return ParseDict(content, getattr(service_pb2, kind)())


def parse_request(request: Message) -> InferRequest:
    """Raises InvalidRequestError, NotSupportedError."""
    if not request.inputs:
        raise InvalidRequestError("the request needs 'inputs': at least one tensor")
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise InvalidRequestError(f"there are {len(raw)} raw_input_contents for {len(request.inputs)} inputs")
    inputs = [_input(entry, raw[index] if raw else None) for index, entry in enumerate(request.inputs)]
    names = [tensor.name for tensor in inputs]
    if len(set(names)) < len(names):
        raise InvalidRequestError("an input is given twice")
    return InferRequest(
        inputs, [_output(entry) for entry in request.outputs], _parameters(request), request.id, binary=True
    )


def render_response(request: Message, name: str, inference: Inference) -> Message:
    response = service_pb2.ModelInferResponse(
        model_name=name, model_version=str(inference.answers[0].model.version), id=request.id
    )
    for output, array in inference.outputs.items():
        response.outputs.add(name=output, datatype=codec.DATATYPES[array.dtype.name], shape=array.shape)
        response.raw_output_contents.append(codec.to_bytes(array))
    return response


def _input(entry: Message, raw: bytes | None) -> codec.NamedTensor:
    name = entry.name
    shape = codec.read_shape(name, list(entry.shape))
    datatype = codec.check_datatype(name, entry.datatype)
    if "shared_memory_region" in entry.parameters:
        raise NotSupportedError(f"input '{name}' is in shared memory, which is not enabled; send its data")
    if raw is not None:
        if entry.HasField("contents"):
            raise InvalidRequestError(f"input '{name}' has both contents and raw_input_contents")
        return codec.from_bytes(name, datatype, shape, memoryview(raw))
    if datatype not in _CONTENTS:
        raise InvalidRequestError(f"input '{name}' is {datatype}, which must be sent in raw_input_contents")
    values = getattr(entry.contents, _CONTENTS[datatype])
    if datatype == codec.BYTES:
        return codec.NamedTensor(name, datatype, codec.to_strings(name, list(values), shape))
    return codec.NamedTensor(name, datatype, codec.to_array(name, datatype, values, shape))


def _output(entry: Message) -> RequestedOutput:
    parameters = _parameters(entry)
    if "shared_memory_region" in parameters:
        raise NotSupportedError(f"output '{entry.name}' is requested in shared memory, which is not enabled")
    return RequestedOutput(entry.name, class_count(entry.name, parameters.get("classification", 0)))


def _parameters(owner: Message) -> dict[str, Any]:
    chosen = {name: value.WhichOneof("parameter_choice") for name, value in owner.parameters.items()}
    return {name: getattr(owner.parameters[name], field) for name, field in chosen.items() if field}
