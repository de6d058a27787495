"""The dialects by the names that API_DIALECTS has. The module of a dialect that is off is not imported."""

from fastapi import APIRouter

from api.dialects.dialect import DialectContext


def create_dialect_router(name: str, context: DialectContext) -> APIRouter:
    match name:
        case "hf":
            from api.dialects.hugging_face import hf_router

            return hf_router(context)
        case "openai":
            from api.dialects.openai import openai_router

            return openai_router(context)
        case "deepstack":
            from api.dialects.deepstack import deepstack_router

            return deepstack_router(context)
        case "v2":
            from api.dialects.open_inference.rest import v2_router

            return v2_router(context)
        case _:
            raise ValueError(f"unknown dialect {name}")
