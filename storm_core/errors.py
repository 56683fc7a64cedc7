"""One error tree. Broken preconditions raise; ordinary absence is a value (see `types`)."""


class StormError(Exception):
    """Root of every error a user can cause or fix; the message names the value and the remedy."""


class ConfigError(StormError):
    """A parameter is unknown, has the wrong type or an impossible value."""


class MeshError(StormError):
    """A mesh is missing, empty, or implausible in scale or origin."""


class DatasetError(StormError):
    """A scene, bag or folder is missing a part, is damaged or contradicts itself."""


class InputError(StormError, ValueError):
    """A frame, mask, camera or pose handed to the core is invalid."""


class WeightsError(StormError):
    """Weights are missing, have the wrong hash or do not fit the network."""


class BackendError(StormError):
    """An optional backend was asked for and is not usable on this machine."""


class SetupError(StormError):
    """The machine or the installation lacks a part that STORM needs to start."""
