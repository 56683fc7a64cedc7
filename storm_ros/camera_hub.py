"""One camera subscription for all nodes of a process: images arrive once and are decoded once, whoever looks."""

from collections.abc import Callable

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo

from storm_core.config import InputConfig
from storm_ros.camera_input import CameraInput
from storm_ros.frames import LazyFrame

OnFrame = Callable[[LazyFrame], None]


class CameraHub:
    """Makes `CameraShare`s. All its nodes must be spun by one thread, and have the same camera."""

    def __init__(self) -> None:
        self._shares: list[CameraShare] = []
        self._input: CameraInput | None = None

    def watch(self, node: Node, config: InputConfig, on_frame: OnFrame) -> "CameraShare":
        """As a CameraInput of the node's own."""
        share = CameraShare(self, node, config, on_frame)
        self._shares.append(share)
        if self._input is None:
            self._subscribe()
        return share

    def leave(self, share: "CameraShare") -> None:
        """The node needs no frames any more; the next one subscribes when it was this one's subscription."""
        was_first = self._shares and self._shares[0] is share
        self._shares.remove(share)
        if was_first and self._input is not None:
            self._input.destroy()
            self._input = None
            if self._shares and self._shares[0].node.context.ok():  # else everybody is about to leave
                self._subscribe()

    @property
    def source(self) -> CameraInput:
        """Valid while anybody watches."""
        assert self._input is not None
        return self._input

    def _subscribe(self) -> None:
        first = self._shares[0]
        self._input = CameraInput(first.node, first.config, self._hand_out)

    def _hand_out(self, frame: LazyFrame) -> None:
        for share in tuple(self._shares):
            share.on_frame(frame)


class CameraShare:
    """One node's part in the hub; the same methods as CameraInput."""

    def __init__(self, hub: CameraHub, node: Node, config: InputConfig, on_frame: OnFrame) -> None:
        self.node, self.config, self.on_frame = node, config, on_frame
        self._hub = hub

    @property
    def info(self) -> CameraInfo | None:
        """The newest camera_info."""
        return self._hub.source.info

    def problems(self) -> list[str]:
        return self._hub.source.problems()

    def reconfigure(self, config: InputConfig) -> None:
        self.config = config
        self._hub.source.reconfigure(config)

    def destroy(self) -> None:
        self._hub.leave(self)
