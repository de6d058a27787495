"""What clients can ask about models beside inference, for HTTP and gRPC alike; the answers are JSON objects."""

from api.dialects.dialect import DialectContext
from api.dialects.open_inference import metadata
from api.dialects.open_inference.faces import find_face, load
from api.dialects.open_inference.metadata import Json
from api.problems import NotReadyError, NotSupportedError


async def describe_model(context: DialectContext, name: str, version: str | None) -> Json:
    """Loads the model if it is not loaded. Raises UnknownModelError, ModelUnavailableError."""
    engine = context.engine()
    face = find_face(engine, name, version)
    return metadata.model_metadata(engine, face, await load(engine, face))


async def configuration(context: DialectContext, name: str, version: str | None) -> Json:
    """As `describe_model`."""
    engine = context.engine()
    face = find_face(engine, name, version)
    return metadata.model_config(face, await load(engine, face), context.settings)


def check_ready(context: DialectContext, name: str, version: str | None) -> None:
    """Raises UnknownModelError, and NotReadyError if the version is not in memory."""
    models = context.engine().models
    choice = find_face(context.engine(), name, version).choice
    number = models.version(choice.name or "", choice.selector).number if version else None
    if models.ready(choice.name, number) is None:
        raise NotReadyError(f"the model {name} is not loaded; its next request loads it")


def statistics(context: DialectContext, name: str | None, version: str | None) -> Json:
    """Of one version, of all versions of a model, or of all. Raises UnknownModelError."""
    engine, found = context.engine(), context.metrics.statistics
    names = [name] if name else sorted(engine.models.catalog)
    entries = []
    for shown in names:
        choice = find_face(engine, shown, version).choice
        base = choice.name or ""
        numbers = [engine.models.version(base, version).number] if version else sorted(engine.models.catalog[base])
        entries += [metadata.statistics(shown, number, found.of(base, number)) for number in numbers]
    return {"model_stats": entries}


async def load_model(context: DialectContext, name: str, *, has_parameters: bool) -> None:
    """Raises what ModelAdmin.load raises, and NotSupportedError."""
    if has_parameters:
        raise NotSupportedError("a model is loaded as it is in the models folder; load it without parameters")
    engine = context.engine()
    await engine.admin.load(find_face(engine, name, None).choice.name or "", None)


async def unload_model(context: DialectContext, name: str) -> None:
    """Raises what ModelAdmin.unload raises."""
    engine = context.engine()
    await engine.admin.unload(find_face(engine, name, None).choice.name or "", None)


def no_shared_memory(kind: str) -> NotSupportedError:
    return NotSupportedError(f"{kind} shared memory is not enabled; send tensors in the request")


def no_log_settings() -> NotSupportedError:
    return NotSupportedError("log settings are read at start, from API_LOG_LEVEL and API_LOG_FORMAT")


def no_trace_settings() -> NotSupportedError:
    return NotSupportedError("the server does not support trace settings")
