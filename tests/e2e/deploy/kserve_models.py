"""Compares manifests with the models of kserve's package, which are generated from the API's definition.

Runs in an environment that has kserve. Reads a JSON list of manifests on stdin and prints a JSON list of each one's
problems.
"""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import kserve
import kubernetes.client

_PRIMITIVES: dict[str, Any] = {
    "str": str,
    "int": int,
    "float": (int, float),
    "bool": bool,
    "object": object,
    "datetime": str,
}
_PRIMITIVES |= {"ResourceQuantity": (int, str), "IntOrString": (int, str)}


def problems(value: object, kind: str, path: str) -> Iterator[str]:
    """Unknown fields, missing ones, wrong types. `kind`: a type as the models write it, such as list[V1Container]."""
    if found := re.fullmatch(r"([Ll]ist|[Dd]ict)[(\[](?:str, )?(.+)[\])]", kind):
        if not isinstance(value, list if found[1].lower() == "list" else dict):
            yield f"{path}: expected {kind}"
            return
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from problems(item, found[2], f"{path}.{key}")
    elif kind in _PRIMITIVES:
        if not isinstance(value, _PRIMITIVES[kind]) or (kind == "int" and isinstance(value, bool)):
            yield f"{path}: expected {kind}"
    else:
        yield from object_problems(value, kind, path)


def object_problems(value: object, kind: str, path: str) -> Iterator[str]:
    model = getattr(kserve, kind, None) or getattr(kubernetes.client, kind)
    names = {in_json: name for name, in_json in model.attribute_map.items()}
    if not isinstance(value, dict):
        yield f"{path}: expected {kind}"
        return
    yield from (f"{path}.{name}: unknown field" for name in value.keys() - names)
    known = {names[name]: item for name, item in value.items() if name in names}
    try:
        model(**known)
    except ValueError as error:  # a required field is missing
        yield f"{path}: {error}"
    for name, item in known.items():
        yield from problems(item, model.openapi_types[name], f"{path}.{model.attribute_map[name]}")


def model_of(manifest: dict[str, Any]) -> str:
    version = str(manifest["apiVersion"]).rpartition("/")[2]
    return f"{version.capitalize()}{manifest['kind']}"


if __name__ == "__main__":
    manifests = json.load(sys.stdin)
    json.dump([[*problems(each, model_of(each), each["kind"])] for each in manifests], sys.stdout)
