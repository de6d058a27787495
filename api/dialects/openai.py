"""The openai dialect."""

from fastapi import APIRouter, Depends

from api.dialects.dialect import DialectContext


def openai_router(context: DialectContext) -> APIRouter:
    return APIRouter(dependencies=[Depends(context.guards.user)], include_in_schema=False)
