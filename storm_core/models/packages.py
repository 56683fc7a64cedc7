"""The optional packages of the learned stages: asked for once, named with their remedy when they are missing."""

from importlib.util import find_spec

from storm_core.errors import BackendError


def require_packages(purpose: str, *packages: str) -> None:
    """Nothing when all packages can be imported.

    Raises:
      BackendError: some cannot; names them and the remedy.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise BackendError(f"{purpose} needs {' and '.join(missing)}, not installed here; run `make full`, or "
                           "pip install 'storm_ros[full]'")
