"""The hugging_face dialect."""

from fastapi import APIRouter, Depends

from api.dialects.dialect import DialectContext


def hf_router(context: DialectContext) -> APIRouter:
    return APIRouter(dependencies=[Depends(context.guards.user)], include_in_schema=False)
