"""The few classes of `launch` and `launch_ros` that our launch files use, recording what they are given."""

import sys
import types


class Recorded:
    """Keeps its arguments for the test to read."""

    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs


class Node(Recorded):
    """launch_ros.actions.Node takes nothing by position."""

    def __init__(self, *, executable, package=None, name=None, namespace=None, parameters=None, remappings=None,
                 arguments=None, output=None, emulate_tty=None, additional_env=None, respawn=False, respawn_delay=0.0):
        given = dict(locals())
        super().__init__(**{key: given[key] for key in given if key not in ("self", "__class__")})


class ExecuteProcess(Recorded):
    """launch.actions.ExecuteProcess."""


class EmitEvent(Recorded):
    """launch.actions.EmitEvent."""


class Shutdown(Recorded):
    """launch.events.Shutdown."""


class RegisterEventHandler(Recorded):
    """launch.actions.RegisterEventHandler."""


class OnProcessExit(Recorded):
    """launch.event_handlers.OnProcessExit."""


class DeclareLaunchArgument(Recorded):
    """launch.actions.DeclareLaunchArgument."""


class OpaqueFunction(Recorded):
    """launch.actions.OpaqueFunction."""


class LaunchConfiguration:
    """Finds its value in the context, as the real one does."""

    def __init__(self, name):
        self._name = name

    def perform(self, context):
        return context[self._name]


class LaunchDescription:
    def __init__(self, entities):
        self.entities = entities

    def run(self, **given):
        """Actions that the description leads to when launched with these arguments."""
        context, actions = {}, []
        for entity in self.entities:
            if isinstance(entity, DeclareLaunchArgument):
                context[entity.args[0]] = given.pop(entity.args[0], entity.kwargs["default_value"])
            elif isinstance(entity, OpaqueFunction):
                actions += entity.kwargs["function"](context)
            else:
                actions.append(entity)
        assert not given, f"undeclared arguments: {given}"
        return actions


def install(monkeypatch):
    """Make `import launch` find these classes for the length of one test."""
    contents = {
        "launch": {"LaunchDescription": LaunchDescription, "LaunchContext": dict},
        "launch.action": {"Action": object},
        "launch.actions": {"DeclareLaunchArgument": DeclareLaunchArgument, "OpaqueFunction": OpaqueFunction,
                           "ExecuteProcess": ExecuteProcess, "EmitEvent": EmitEvent,
                           "RegisterEventHandler": RegisterEventHandler},
        "launch.event_handlers": {"OnProcessExit": OnProcessExit},
        "launch.events": {"Shutdown": Shutdown},
        "launch.events.process": {"ProcessExited": object},
        "launch.substitutions": {"LaunchConfiguration": LaunchConfiguration},
        "launch_ros": {},
        "launch_ros.actions": {"Node": Node},
    }
    monkeypatch.delitem(sys.modules, "storm_ros.launching", raising=False)
    for name, names in contents.items():
        module = types.ModuleType(name)
        vars(module).update(names)
        monkeypatch.setitem(sys.modules, name, module)
