"""Which node a parameter matters to, and whether it may change while that node is active."""

from collections.abc import Iterable
from dataclasses import dataclass

from storm_ros.graph import CORE_NODES

ALL = (*CORE_NODES, "viz_node")
_CAMERA = ("som_node", "pose_node", "tom_node", "score_node", "viz_node")


@dataclass(frozen=True)
class Rule:
    """What holds for a parameter, or for all whose path begins so.

    Attributes:
      path: dotted path; of a whole section with a dot at the end.
      nodes: who reads it. A change on any other node would change nothing.
      live: it takes effect at once; otherwise at the next activation.
    """

    path: str
    nodes: tuple[str, ...]
    live: bool = True

    def matches(self, path: str) -> bool:
        return path.startswith(self.path) if self.path.endswith(".") else path == self.path


RULES = (
    Rule("objects", ("supervisor_node",)),
    Rule("models", ("supervisor_node",)),
    Rule("primary", ("supervisor_node",)),
    Rule("tf_prefix", ("supervisor_node",)),
    Rule("recovery.", ("supervisor_node",)),
    Rule("input.max_age", ("supervisor_node",)),
    Rule("input.timeout", ALL),
    Rule("input.slop", _CAMERA),
    *(Rule(f"input.{name}", _CAMERA, live=False) for name in ("image_transport", "depth_transport", "align_depth")),
    Rule("input.fixed_frame", (*_CAMERA, "supervisor_node"), live=False),
    *(Rule(f"som.{name}", ("som_node",))
      for name in ("max_candidates", "accept", "uncertain", "max_depth", "min_depth")),
    Rule("som.", ("som_node",), live=False),
    Rule("registration.", ("pose_node",)),
    Rule("tracking.", ("pose_node",)),
    *(Rule(f"monitor.{name}", ("tom_node",)) for name in ("healthy", "min_visible", "consecutive")),
    Rule("monitor.", ("tom_node",), live=False),
    Rule("refiner.", ("pose_node",), live=False),
    Rule("score_model.period", ("score_node",)),
    Rule("score_model.", ("score_node",), live=False),
    Rule("onboarding.", ALL, live=False),
    *(Rule(name, ALL, live=False) for name in ("mesh_unit", "seed", "threads")),
)
"""The first that matches counts."""


def rule_of(path: str) -> Rule:
    return next(rule for rule in RULES if rule.matches(path))


def refusal(node: str, full_name: str, paths: Iterable[str]) -> str:
    """Why an active node does not accept changes of these parameters; empty when it does.

    Args:
      node: its name, e.g. tom_node. full_name: with its namespace, for the command in the answer.
    """
    for path in paths:
        rule = rule_of(path)
        if node not in rule.nodes:
            return f"{path} means nothing to {node}; set it on {' and '.join(rule.nodes)}"
        if not rule.live:
            return (f"{path} takes effect at activation only; first: ros2 lifecycle set {full_name} deactivate, "
                    "afterwards: activate")
    return ""
