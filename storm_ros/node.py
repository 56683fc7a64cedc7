"""What the nodes of the graph share beyond their life cycle: configuration, models, camera input, diagnostics."""

from collections.abc import Callable
from typing import Any

from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn

from storm_core.config import StormConfig
from storm_core.errors import StormError
from storm_ros import names
from storm_ros.camera_input import CameraInput
from storm_ros.diagnostics import NodeDiagnostics
from storm_ros.frames import LazyFrame
from storm_ros.lifecycle import AUTOSTART, ManagedNode
from storm_ros.parameters import declare_config, read_config
from storm_ros.stages import Models, Stages
from storm_ros.threads import use_threads


class StormNode(ManagedNode):
    """A node built from stages. Subclasses fill in `build`, `connect` and `disconnect`.

    Attributes:
      stages: factories of everything that computes.
      config, models: valid from `build` on.
    """

    def __init__(self, name: str, stages: Stages | None = None, **kwargs: Any) -> None:
        """Raises ConfigError for a wrong parameter."""
        super().__init__(name, **kwargs)
        self.stages = stages or Stages()
        self.models: Models = {}
        self.config: StormConfig = declare_config(self, frozenset({AUTOSTART}))
        self._input: CameraInput | None = None
        self._diagnostics: NodeDiagnostics | None = None

    def build(self) -> None:
        """Make the stages and warm them up."""

    def connect(self) -> None:
        """Advertise, start workers, subscribe."""

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
        self.connect()
        self.get_logger().info(f"active: {', '.join(self.models)}")

    def end(self) -> None:
        if self._input is not None:
            self._input.destroy()
            self._input = None
        self.disconnect()
        self.diagnostics.destroy()
        self._diagnostics = None

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.models = {}
        return super().on_cleanup(state)

    @property
    def diagnostics(self) -> NodeDiagnostics:
        """Valid while active."""
        assert self._diagnostics is not None
        return self._diagnostics

    @property
    def camera_input(self) -> CameraInput | None:
        """None unless `watch_camera` was called in this activation."""
        return self._input

    def watch_camera(self, on_frame: Callable[[LazyFrame], None]) -> None:
        """Subscribe to the camera; call it from `connect`, last."""
        self._input = CameraInput(self, self.config.input, on_frame, self.diagnostics)

    def problems(self) -> list[str]:
        """For /diagnostics."""
        return self._input.problems() if self._input is not None else []

    def report(self, error: StormError) -> None:
        super().report(error)
        if self._diagnostics is not None:
            self._diagnostics.error(str(error))
