"""viz_node: overlay picture and rviz markers, computed only while somebody looks."""

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Point
from rclpy.clock import Clock, ClockType
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image
from std_msgs.msg import ColorRGBA
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import Marker, MarkerArray

from storm_core.config import StormConfig
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.simplify import simplify
from storm_core.recovery.machine import State
from storm_core.report.overlay import OverlayPainter
from storm_core.types import Evidence, ObjectOutput, Reason
from storm_ros import names, qos, records
from storm_ros.conversions import header, stamp_ns, to_image, to_pose, vector
from storm_ros.detections import read_detections
from storm_ros.frames import FrameBuffer, LazyFrame
from storm_ros.node import StormNode
from storm_ros.running import run
from storm_ros.stages import Models

WAIT_NS = 150_000_000
"""The overlay shows the newest frame that had so much time to get its poses."""

LOOK_PERIOD = 0.5
"""Time between two looks whether anybody looks [s]."""

MARKER_LIFE = 0.5
"""A marker that is not renewed for so long [s] disappears."""

MARKER_PERIOD_NS = 190_000_000
"""Time between two markers: a mesh is a large message, and rviz needs it whole every time."""

MARKER_FACES = 600
"""Faces of a mesh shown in rviz."""


class VizNode(StormNode):
    """Draws what the supervisor publishes onto the frames it belongs to."""

    def __init__(self, stages: object = None, **kwargs: object) -> None:
        super().__init__("viz_node", stages, **kwargs)

    def build(self) -> None:
        self._show(self.models)

    def unbuild(self) -> None:
        del self._painter, self._shown, self._meshes
        self._buffer = None

    def adopt(self, models: Models, config: StormConfig) -> None:
        self._show(models)
        self._states = {name: state for name, state in self._states.items() if name in models}

    def _show(self, models: Models) -> None:
        self._painter, self._shown = OverlayPainter(models), models
        self._meshes: dict[str, Marker] = {}  # made when somebody looks

    def connect(self) -> None:
        self._buffer = FrameBuffer(dense=8, sparse=0)
        self._states: dict[str, tuple[str, Reason]] = {}
        self._drawn_ns = self._marked_ns = 0
        self._overlay = self.create_publisher(Image, names.OVERLAY, qos.results())
        self._markers = self.create_publisher(MarkerArray, names.MARKERS, qos.results())
        self._worker = self.start_worker("paint", self._paint)
        self._status = self.create_subscription(DiagnosticArray, names.STATUS, self._on_status, qos.latched())
        self._detections: Subscription | None = None
        # Images are what costs most: they are received only while somebody looks at the overlay.
        self._look = self.create_timer(LOOK_PERIOD, self._watch_or_not, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _watch_or_not(self) -> None:
        wanted = self._overlay.get_subscription_count() > 0
        if wanted and self.camera_input is None:
            self.watch_camera(self._on_frame)
        elif not wanted:
            self.unwatch_camera()
        if wanted or self._markers.get_subscription_count() > 0:
            self._hear_detections()
        else:
            self._ignore_detections()

    def _hear_detections(self) -> None:
        if self._detections is None:
            self._detections = self.create_subscription(Detection3DArray, names.DETECTIONS, self._on_detections,
                                                        qos.results())

    def _ignore_detections(self) -> None:
        if self._detections is not None:
            self.destroy_subscription(self._detections)
            self._detections = None

    def disconnect(self) -> None:
        self.destroy_timer(self._look)
        self._ignore_detections()
        self.destroy_subscription(self._status)
        for publisher in (self._overlay, self._markers):
            self.destroy_publisher(publisher)

    def _on_status(self, message: DiagnosticArray) -> None:
        for entry in message.status:
            values = records.values_of(entry)
            self._states[entry.name] = (values["state"], Reason(values["reason"]))

    def _on_frame(self, frame: LazyFrame) -> None:
        """Frames that nobody publishes poses for are shown as well, a little later."""
        self._buffer.push(frame)
        late = self._buffer.nearest(frame.stamp_ns - WAIT_NS, WAIT_NS // 3)
        if late is not None and late.stamp_ns > self._drawn_ns + WAIT_NS:
            self._draw(late, ())

    def _on_detections(self, message: Detection3DArray) -> None:
        outputs = [self._with_state(output) for output in read_detections(message)
                   if output.object_name in self._shown]
        stamp = stamp_ns(message.header.stamp)
        if self._markers.get_subscription_count() > 0 and abs(stamp - self._marked_ns) > MARKER_PERIOD_NS:
            self._marked_ns = stamp
            self._markers.publish(self._marker_array(message, outputs))
        if self._overlay.get_subscription_count() > 0:
            lazy = self._buffer.nearest(stamp)
            if lazy is not None:
                self._draw(lazy, outputs)

    def _draw(self, lazy: LazyFrame, outputs: Sequence[ObjectOutput]) -> None:
        self._drawn_ns = lazy.stamp_ns
        self._worker.put((lazy, outputs))

    def _with_state(self, output: ObjectOutput) -> ObjectOutput:
        state, reason = self._states.get(output.object_name, (State.TRACKING.value, Reason.CONFIRMED))
        coasting = state == State.SUSPECT.value
        return replace(output, state=state, reason=reason, trusted=not coasting, coasting=coasting)

    def _paint(self, job: tuple[LazyFrame, Sequence[ObjectOutput]]) -> None:
        """In the worker."""
        lazy, outputs = job
        frame = lazy.frame()
        shown = {output.object_name for output in outputs}
        silent = [ObjectOutput(object_name=name, stamp_ns=frame.stamp_ns, state=state, reason=reason, cam_from_obj=None,
                               covariance=None, probability=0.0, trusted=False, coasting=False, evidence=Evidence())
                  for name, (state, reason) in tuple(self._states.items()) if name not in shown]
        with self.diagnostics.timed("paint"):
            picture = self._painter.paint(frame.rgb, frame.camera, [*outputs, *silent])
        self._overlay.publish(to_image(picture, "rgb8", header(frame.stamp_ns, frame.frame_id)))

    def _marker_array(self, message: Detection3DArray, outputs: Sequence[ObjectOutput]) -> MarkerArray:
        markers = []
        shown, meshes = self._shown, self._meshes
        for output in outputs:
            name = output.object_name
            if name not in shown:  # removed meanwhile
                continue
            mesh = meshes[name] = meshes.get(name) or _mesh_marker(shown[name])
            mesh.header = message.header
            mesh.pose = to_pose(output.cam_from_obj)
            # A coasting pose is a guess and is shown as a ghost.
            mesh.color.a = 1.0 if output.trusted else 0.4
            markers.append(mesh)
        return MarkerArray(markers=markers)


def _mesh_marker(model: ObjectModel) -> Marker:
    """The mesh itself as triangles, so that rviz needs no file."""
    marker = Marker(ns=model.name, id=0, type=Marker.TRIANGLE_LIST, action=Marker.ADD, scale=vector((1, 1, 1)))
    marker.lifetime.nanosec = round(MARKER_LIFE * 1e9)
    marker.color = ColorRGBA(r=0.2, g=0.9, b=0.35, a=1.0)
    vertices, faces = simplify(model.vertices.astype(float), model.faces.astype(np.int64), MARKER_FACES)
    marker.points = [Point(x=x, y=y, z=z) for x, y, z in vertices[faces].reshape(-1, 3).tolist()]
    if model.colors is not None:
        from scipy.spatial import cKDTree  # for rviz only: it takes a fifth of a second of every start

        _, nearest = cKDTree(model.vertices).query(vertices)
        shades = (model.colors[nearest[faces]].reshape(-1, 3) / 255.0).tolist()
        marker.colors = [ColorRGBA(r=r, g=g, b=b, a=1.0) for r, g, b in shades]
    return marker


def main(args: Sequence[str] | None = None) -> int:
    return run([VizNode], args)


if __name__ == "__main__":
    sys.exit(main())
