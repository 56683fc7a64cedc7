"""replay_node: plays a BOP scene, a folder of images or a bag on the input topics: for where there is no ros2 bag."""

import sys
import threading
import time
from collections.abc import Sequence
from itertools import chain, islice
from typing import Any

from std_srvs.srv import Trigger

from storm_core.bags.recording import open_recording
from storm_core.errors import ConfigError, StormError
from storm_ros import names
from storm_ros.lifecycle import LIFECYCLE_PARAMETERS, ManagedNode
from storm_ros.parameters import declare, given_parameters
from storm_ros.playback import FramePublisher, Pacer, Shot, ahead, to_and_fro
from storm_ros.running import run

WAITING_FRAMES = 8
"""First frames shown to and fro until the start is called for."""

_PARAMETERS: dict[str, tuple[Any, str]] = {
    "path": ("", "what to play: a BOP scene, a folder with rgb/, depth/, camera.json, or a bag"),
    "rate": (1.0, "speed: 1 = as recorded, 0.5 = half"),
    "loop": (False, "start again at the end"),
    "wait": (False, "show the first frames until storm/start is called"),
    "recorded_time": (False, "keep the recorded stamps and publish /clock, for nodes with use_sim_time"),
    "image_topic": ("", "topic of the colour image in a bag; empty = found by type and name"),
    "depth_topic": ("", "topic of the depth image in a bag"),
    "info_topic": ("", "topic of the intrinsics in a bag"),
}


class ReplayNode(ManagedNode):
    """Plays once (or in a loop) and then ends its process."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("replay_node", **kwargs)
        given = given_parameters(self)
        unknown = set(given) - set(_PARAMETERS) - LIFECYCLE_PARAMETERS
        if unknown:
            raise ConfigError(f"unknown parameter {min(unknown)}; replay_node knows {', '.join(_PARAMETERS)}")
        for name, (default, doc) in _PARAMETERS.items():
            value = given.get(name, default)
            if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
            if type(value) is not type(default):
                raise ConfigError(f"{name} must be {type(default).__name__}, got {type(value).__name__} {value!r}")
            declare(self, name, value, doc)

    def configure(self) -> None:
        values = {name: self.get_parameter(name).value for name in _PARAMETERS}
        if not values["path"]:
            raise ConfigError("path is empty; set it to a BOP scene, a folder of images or a bag")
        if not 0.01 <= values["rate"] <= 100.0:
            raise ConfigError(f"rate = {values['rate']} is outside [0.01, 100.0]")
        if values["wait"] and values["recorded_time"]:
            raise ConfigError("wait and recorded_time exclude each other: recorded time does not go on while waiting")
        self._values = values
        self._recording = open_recording(
            values["path"], image_topic=values["image_topic"] or None, depth_topic=values["depth_topic"] or None,
            info_topic=values["info_topic"] or None)

    def begin(self) -> None:
        self._publisher = FramePublisher(self)
        self._go, self._stop = threading.Event(), threading.Event()
        if not self._values["wait"]:
            self._go.set()
        self._service = self.create_service(Trigger, names.START, self._on_start)
        self.start_worker("play", self._play).put(None)

    def quiesce(self) -> None:
        if self.active:
            self._stop.set()
        super().quiesce()

    def end(self) -> None:
        self.destroy_service(self._service)
        self._publisher.destroy(self)

    def _on_start(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = not self._go.is_set(), "playing"
        self._go.set()
        return response

    def _play(self, item: None) -> None:
        """In the worker. A recording that cannot be read on ends the process: nobody would know why nothing comes."""
        try:
            self._play_rounds()
        except StormError as error:
            self.fail(error)

    def _play_rounds(self) -> None:
        while True:
            shots = ahead(self._recording.frames(), self._stop)
            if not self._go.is_set():
                first = list(islice(shots, WAITING_FRAMES))
                self._show_waiting([shot for _, shot in first])
                shots = chain(first, shots)
            pacer = Pacer(self._stop.wait)
            for stamp_ns, shot in shots:
                self._show(pacer, stamp_ns, shot)
            if self._stop.is_set():
                return
            self.get_logger().info(f"played {len(self._recording)} frames of {self._recording.path}")
            if not self._values["loop"]:
                self.context.try_shutdown()
                return

    def _show(self, pacer: Pacer, stamp_ns: int, shot: Shot) -> None:
        pacer.wait((stamp_ns - self._recording.stamps_ns[0]) * 1e-9 / self._values["rate"])
        if not self._stop.is_set():
            recorded = self._values["recorded_time"]
            self._publisher.publish(shot, stamp_ns if recorded else time.time_ns(), with_clock=recorded)

    def _show_waiting(self, shots: list[Shot]) -> None:
        """Stamps advance although the recording does not."""
        period = 1 / 30
        if len(self._recording) > 1:
            stamps = self._recording.stamps_ns
            period = (stamps[-1] - stamps[0]) * 1e-9 / (len(stamps) - 1) / self._values["rate"]
        pacer = Pacer(self._stop.wait)
        for k, (_, shot) in enumerate(to_and_fro(shots)):
            if self._go.is_set() or self._stop.is_set():
                return
            pacer.wait(k * period)
            self._publisher.publish(shot, time.time_ns())


def main(args: Sequence[str] | None = None) -> int:
    return run([ReplayNode], args)


if __name__ == "__main__":
    sys.exit(main())
