"""StormConfig as ROS parameters: names, defaults, ranges and texts come from the dataclasses alone."""

from collections.abc import Sequence
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from storm_core.config import StormConfig, build, describe, flatten

_BUILT_IN = ("use_sim_time", "start_type_description_service", "qos_overrides.")


def given_parameters(node: Node) -> dict[str, Any]:
    """What the command line, launch file and parameter files set for this node, declared or not.

    ROS ignores values for parameters that nobody declares, which hides every misspelling; hence this look behind
    the public interface.
    """
    given = {name: parameter.value for name, parameter in node._parameter_overrides.items()}
    # An empty list has no type in ROS and arrives as None: it says nothing that the default does not say.
    return {name: value for name, value in given.items() if value is not None and not name.startswith(_BUILT_IN)}


def declare_config(node: Node, own: frozenset[str] = frozenset()) -> StormConfig:
    """Declare every leaf of StormConfig on `node` with the values given to it.

    Args:
      node: any node.
      own: further parameters that the node declares itself.

    Raises:
      ConfigError: a given parameter is unknown, has the wrong type or is out of range; names its dotted path.
    """
    given = {name: value for name, value in given_parameters(node).items() if name not in own}
    config = build(given)
    known = describe(config)
    for path, value in flatten(config).items():
        meta = known[path]
        declare(node, path, value, meta["doc"], meta["unit"], meta["low"], meta["high"], meta["choices"])
    return config


def declare(node: Node, name: str, value: Any, doc: str, unit: str = "", low: float | None = None,
            high: float | None = None, choices: Sequence[str] = ()) -> None:
    """Declare one parameter with a checked value, its description, unit and range or choices."""
    descriptor = ParameterDescriptor(description=f"{doc} [{unit}]" if unit else doc,
                                     additional_constraints=f"one of {', '.join(choices)}" if choices else "")
    if low is not None and high is not None:
        if isinstance(value, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
        else:
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
    if isinstance(value, tuple):
        # The type of an empty list must be said; only a declaration without value can say it.
        node.declare_parameter(name, Parameter.Type.STRING_ARRAY, descriptor, ignore_override=True)
        node.set_parameters([Parameter(name, Parameter.Type.STRING_ARRAY, list(value))])
    else:
        node.declare_parameter(name, value, descriptor, ignore_override=True)


def read_config(node: Node) -> StormConfig:
    """The configuration as the node's parameters are now."""
    return build({path: node.get_parameter(path).value for path in flatten(StormConfig())})
