"""What the nodes of the graph share beyond their life cycle: configuration, models, camera input, diagnostics."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.subscription import Subscription

from storm_core.config import InputConfig, StormConfig, build, flatten
from storm_core.errors import StormError
from storm_ros import names, qos
from storm_ros.between import TopicWays, Ways
from storm_ros.camera_hub import CameraShare
from storm_ros.camera_input import CameraInput
from storm_ros.diagnostics import NodeDiagnostics
from storm_ros.frames import LazyFrame
from storm_ros.garbage import clear
from storm_ros.lifecycle import LIFECYCLE_PARAMETERS, ManagedNode
from storm_ros.live import refusal
from storm_ros.parameters import declare_config, read_config
from storm_ros.roster import digests_of, read_roster
from storm_ros.stages import Models, Stages
from storm_ros.threads import use_threads

Camera = Callable[[Node, InputConfig, Callable[[LazyFrame], None]], CameraInput | CameraShare]
"""(node, config, on_frame) -> its camera input."""


class StormNode(ManagedNode):
    """A node built from stages. Subclasses fill in `build`, `connect`, `adopt` and what undoes the first two.

    Attributes:
      stages: factories of everything that computes.
      ways: to the other nodes, for what is said in every frame.
      config, models: valid from `build` on.
    """

    def __init__(self, name: str, stages: Stages | None = None, camera: Camera = CameraInput,
                 ways: Ways | None = None, **kwargs: Any) -> None:
        """
        Args:
          camera: makes the node's camera input.
          ways: to the other nodes; topics by default.

        Raises:
          ConfigError: a parameter is wrong.
        """
        super().__init__(name, **kwargs)
        self._camera = camera
        self.ways = ways or TopicWays()
        self.stages = stages or Stages()
        self.models: Models = {}
        self.config: StormConfig = declare_config(self, LIFECYCLE_PARAMETERS)
        self._input: CameraInput | CameraShare | None = None
        self._diagnostics: NodeDiagnostics | None = None
        self._exchange = threading.RLock()
        self.add_on_set_parameters_callback(self._on_set_parameters)

    def build(self) -> None:
        """Make the stages and warm them up."""

    def unbuild(self) -> None:
        """Undo `build`."""

    def reconfigure(self, config: StormConfig, paths: frozenset[str]) -> None:
        """Take over live parameters that have changed; called in the executor, with the old `config` still in place.

        Raises:
          StormError: the change is not possible; nothing may have been changed then.
        """

    def connect(self) -> None:
        """Advertise, start workers, subscribe."""

    def adopt(self, models: Models, config: StormConfig) -> None:
        """Other objects from now on; called in a thread of its own, with the old `models` still in place.

        What is followed and has the same mesh as before must go on.
        """

    def disconnect(self) -> None:
        """Undo `connect`; workers, camera input and diagnostics are the base class's affair."""

    def configure(self) -> None:
        self.config = read_config(self)
        self.models = self.stages.models(self.config)
        names.require_distinct(self.models)
        use_threads(self.config.threads)
        self.build()

    def begin(self) -> None:
        self._diagnostics = NodeDiagnostics(self, self.problems)
        self._roster: list[Subscription] = []
        self._roster_worker = self.start_worker("roster", self.take_over)
        self.connect()
        self.follow_roster()
        self.get_logger().info(f"active: {', '.join(self.models)}")

    def end(self) -> None:
        self.unwatch_camera()
        for subscription in self._roster:
            self.destroy_subscription(subscription)
        self.disconnect()
        self.diagnostics.destroy()
        self._diagnostics = None

    def follow_roster(self) -> None:
        """Take over the supervisor's objects whenever they change."""
        self._roster.append(self.create_subscription(
            DiagnosticArray, names.ROSTER, self._roster_worker.put, qos.latched()))

    def take_over(self, message: DiagnosticArray) -> None:
        """In the roster worker."""
        roster, alive = read_roster(message), self.this_life()
        if dict(roster.digests) == digests_of(self.models):
            return
        models = self.loaded(replace(self.config, models=roster.folder, objects=roster.objects))
        with self._exchange:
            if alive():
                self.adopt(models, self.config)
            if alive():
                self.be_about(models, roster.folder)

    def loaded(self, config: StormConfig) -> Models:
        """The models of this configuration; those that are here already stay the same objects."""
        models = self.stages.models(config)
        names.require_distinct(models)
        here = {name: model.sha256 for name, model in self.models.items()}
        return {name: self.models[name] if here.get(name) == model.sha256 else model for name, model in models.items()}

    def be_about(self, models: Models, folder: str) -> None:
        """The new objects are in place: say so, also to those who ask for the parameters."""
        self.models = models
        self.config = replace(self.config, models=folder, objects=tuple(models))
        self.set_parameters([Parameter("models", value=folder),
                             Parameter("objects", Parameter.Type.STRING_ARRAY, list(models))])
        self.get_logger().info(f"objects now: {', '.join(models)}")

    def release(self) -> None:
        self.unbuild()
        self.models = {}
        clear()

    def _on_set_parameters(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        """Accept what takes effect, and refuse with the reason what would not."""
        # Both an exchange of objects and a parameter make stages anew, each from what the other is about to change.
        if not self._exchange.acquire(blocking=False):
            return SetParametersResult(successful=False, reason="objects are being exchanged; set it again in a moment")
        try:
            return self._set(parameters)
        finally:
            self._exchange.release()

    def _set(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        try:
            known = flatten(self.config)
            given = {p.name: tuple(p.value or ()) if isinstance(known[p.name], tuple) else p.value
                     for p in parameters if p.name in known}
            changed = frozenset(path for path, value in given.items() if value != known[path])
            config = build(known | given)
            if self.active:
                reason = refusal(self.get_name(), self.get_fully_qualified_name(), sorted(changed))
                if reason:
                    return SetParametersResult(successful=False, reason=reason)
                if changed:
                    if self._input is not None:
                        self._input.reconfigure(config.input)
                    self.reconfigure(config, changed)
            elif changed:
                self.outdate()
            self.config = config
        except StormError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    @property
    def diagnostics(self) -> NodeDiagnostics:
        """Valid while active."""
        assert self._diagnostics is not None
        return self._diagnostics

    @property
    def camera_input(self) -> CameraInput | CameraShare | None:
        """None unless `watch_camera` was called in this activation."""
        return self._input

    def watch_camera(self, on_frame: Callable[[LazyFrame], None]) -> None:
        """Subscribe to the camera; call it from `connect`, last, or later."""
        def received(frame: LazyFrame) -> None:
            self.diagnostics.event("frames")
            on_frame(frame)

        self._input = self._camera(self, self.config.input, received)

    def unwatch_camera(self) -> None:
        """Unsubscribe; safe to call twice."""
        if self._input is not None:
            self._input.destroy()
            self._input = None

    def problems(self) -> list[str]:
        """For /diagnostics."""
        return self._input.problems() if self._input is not None else []

    def report(self, error: StormError) -> None:
        super().report(error)
        if self._diagnostics is not None:
            self._diagnostics.error(str(error))
