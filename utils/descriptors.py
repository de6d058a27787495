"""The limit of open files, of which each connection is one."""

_WANTED = 65_536
_RESERVED = 100


def raise_descriptor_limit() -> None:
    """Raises the soft limit, often 1,024, up to the hard limit or 65,536. Does nothing on Windows."""
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED if hard == resource.RLIM_INFINITY else min(hard, _WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def max_connections() -> int:
    """The soft limit of descriptors, less some for models, logs and the cache."""
    try:
        import resource
    except ImportError:
        return _WANTED
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _WANTED if soft == resource.RLIM_INFINITY else soft
    return max(limit - _RESERVED, limit // 2)
