"""The limit of open files, of which each connection is one."""

_WANTED = 65_536


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


def descriptor_limit() -> int:
    """The soft limit; 65,536 where the system has none."""
    try:
        import resource
    except ImportError:
        return _WANTED
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _WANTED if soft == resource.RLIM_INFINITY else soft
