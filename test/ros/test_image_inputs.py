"""Images as drivers send them: YUV, compressed colour and depth, depth from a camera of its own."""

import struct

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import Quaternion, Transform, TransformStamped
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from storm_core.errors import InputError
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.depth import register_depth
from storm_ros import compressed, names, qos
from storm_ros import conversions as c
from storm_ros.frame_decoder import DepthCamera, FrameDecoder
from storm_ros.playback import shot_of, stamped
from storm_ros.viz_node import VizNode
from test.ros.bench import CORE, stamp_of
from test.ros.fakes import CAMERA, FakeStages, frame_at, is_staged

AT = c.header(1_234_567_891_011_121_314, "optical")
MM = np.random.default_rng(0).integers(300, 5000, (24, 32)).astype(np.uint16)


def packed(form, data, frame_id="optical"):
    message = CompressedImage(header=c.header(-5 + 10**18, frame_id), format=form)
    message.data = bytes(data)
    return message


def read(message):
    return compressed.read_compressed(serialize_message(message))


@pytest.mark.parametrize("encoding,order", [("yuv422", "uyvy"), ("uyvy", "uyvy"), ("yuv422_yuy2", "yuyv"),
                                            ("yuyv", "yuyv")])
def test_yuv_is_decoded_by_the_formula_of_bt601(encoding, order):
    y, u, v = 120, 90, 170
    values = {"y": y, "u": u, "v": v}
    message = Image(header=AT, height=2, width=4, encoding=encoding, step=8)
    message.data = bytes([values[letter] for letter in order] * 4)
    luma = 1.164 * (y - 16)
    expected = [luma + 1.596 * (v - 128), luma - 0.392 * (u - 128) - 0.813 * (v - 128), luma + 2.017 * (u - 128)]
    assert np.abs(c.to_rgb(c.raw_image(message)).astype(float) - expected).max() <= 2
    odd = Image(height=2, width=3, encoding=encoding, step=6)
    odd.data = bytes(12)
    with pytest.raises(InputError, match="3 px wide"):
        c.to_rgb(c.raw_image(odd))


@pytest.mark.parametrize("frame_id", ["", "a", "ab", "abc", "camera_color_optical_frame"])
@pytest.mark.parametrize("form", ["jpeg", "rgb8; png compressed bgr8"])
def test_the_fast_reader_agrees_with_the_deserialiser(frame_id, form):
    message = packed(form, range(17), frame_id)
    fast = read(message)
    assert (fast.stamp_ns, fast.frame_id, fast.format) == (c.stamp_ns(message.header.stamp), frame_id, form)
    assert bytes(fast.data) == bytes(message.data)


def test_compressed_colour_is_rgb():
    rgb = np.zeros((24, 32, 3), np.uint8)
    rgb[:, :16, 0], rgb[:, 16:, 2] = 200, 100
    png = cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()
    assert np.array_equal(compressed.color_of(read(packed("rgb8; png compressed bgr8", png))), rgb)
    jpeg = cv2.imencode(".jpg", rgb[..., ::-1])[1].tobytes()
    found = compressed.color_of(read(packed("rgb8; jpeg compressed bgr8", jpeg)))
    assert np.abs(found[:, :12].astype(int) - [200, 0, 0]).max() < 12
    for broken in (png[:20], b""):
        with pytest.raises(InputError, match="cannot be decoded"):
            compressed.color_of(read(packed("png", broken)))


def test_compressed_depth_is_metres():
    png = cv2.imencode(".png", MM)[1].tobytes()
    for form, head in (("16UC1; compressedDepth", bytes(12)), ("16UC1; compressedDepth png", bytes(12)),
                       ("16UC1; png compressed ", b"")):
        assert np.allclose(compressed.depth_of(read(packed(form, head + png))), MM * 1e-3)
    # compressed_depth_image_transport: value = a / depth + b, 0 = missing.
    a, b = 100 * (100.0 + 1.0), 1.0 - 100 * (100.0 + 1.0) / 10.0
    metres = np.linspace(0.5, 5.0, 24 * 32).reshape(24, 32)
    values = np.round(a / metres + b).astype(np.uint16)
    values[0, 0] = 0
    body = struct.pack("<iff", 0, a, b) + cv2.imencode(".png", values)[1].tobytes()
    found = compressed.depth_of(read(packed("32FC1; compressedDepth", body)))
    assert found[0, 0] == 0 and np.allclose(found[1:], metres[1:], rtol=2e-3)
    with pytest.raises(InputError, match="set the publisher's compressedDepth format to png"):
        compressed.depth_of(read(packed("16UC1; compressedDepth rvl", b"x" * 40)))
    with pytest.raises(InputError, match="16-bit PNG"):
        compressed.depth_of(read(packed("16UC1; compressedDepth", bytes(12))))


def test_depth_of_another_camera_is_registered_through_tf_and_its_camera_info():
    other = PinholeCamera(20, 16, 20.0, 20.0, 9.5, 7.5)
    beside = np.eye(4)
    beside[0, 3] = 0.05
    depth = np.full((16, 20), 0.6, np.float32)
    asked, info = [], [None]

    def where(target, source, stamp):
        asked.append((target, source, stamp))
        return beside

    decoder = FrameDecoder("/image", DepthCamera(lambda: info[0], "/depth_image", where))
    frame = frame_at(5)
    image = c.raw_image(c.to_image(frame.rgb, "rgb8", c.header(5, "color")))
    raw_depth = c.raw_image(c.depth_image(depth, c.header(7, "depth")))
    with pytest.raises(InputError, match="remap depth_camera_info"):
        decoder.decode(image, raw_depth, c.camera_info(CAMERA, AT))
    info[0] = c.camera_info(other, AT)
    decoded = decoder.decode(image, raw_depth, c.camera_info(CAMERA, AT))
    assert asked == [("color", "depth", 7)] and decoded.frame_id == "color"
    assert np.array_equal(decoded.depth, register_depth(depth, other, beside, CAMERA))
    assert (decoded.depth > 0).any() and np.allclose(decoded.depth[decoded.depth > 0], 0.6, atol=1e-3)


@pytest.mark.ros
def test_the_nodes_track_on_compressed_images_and_foreign_depth(bench):
    """Everything at once: JPEG colour, PNG depth in a frame of its own, a static transform, another camera_info."""
    b = bench(**{"input.image_transport": "compressed", "input.depth_transport": "compressedDepth",
                 "input.align_depth": True})
    node, resolved = b.node, b.nodes[0].resolve_topic_name
    color = node.create_publisher(CompressedImage, resolved(names.IMAGE) + "/compressed", qos.sensor_data())
    depth = node.create_publisher(CompressedImage, resolved(names.DEPTH_IMAGE) + "/compressedDepth", qos.sensor_data())
    info = node.create_publisher(type(c.camera_info(CAMERA, AT)), names.DEPTH_CAMERA_INFO, qos.sensor_data())
    static = node.create_publisher(TFMessage, names.TF_STATIC, qos.fixed_transforms())

    def publish(shot, stamp):
        frame = frame_at(stamp, b.visible)
        at, beside = c.header(stamp, "optical"), c.header(stamp, "depth")
        jpeg = cv2.imencode(".jpg", frame.rgb)[1].tobytes()
        mm = cv2.imencode(".png", (frame.depth * 1000).astype(np.uint16))[1].tobytes()
        for publisher, form, head, data in ((color, "rgb8; jpeg compressed bgr8", at, jpeg),
                                            (depth, "16UC1; compressedDepth", beside, bytes(12) + mm)):
            message = CompressedImage(header=head, format=form)
            message.data = data
            publisher.publish(message)
        info.publish(c.camera_info(CAMERA, beside))
        b.camera._publishers[0].publish(stamped(shot.info, stamp))

    b.camera.publish = publish
    b.until(lambda: any("tf knows no frame" in s.message for m in b.heard["diagnostics"] for s in m.status),
            "nobody says that tf is missing")
    assert b.heard["pose"] == [] and shot_of(frame_at(0)) is not None
    transform = TransformStamped(header=c.header(0, "optical"), child_frame_id="depth",
                                 transform=Transform(rotation=Quaternion(w=1.0)))
    static.publish(TFMessage(transforms=[transform]))
    b.await_state("TRACKING")
    b.until(lambda: len(b.heard["pose"]) > 3, "no poses")
    assert b.heard["pose"][-1].header.frame_id == "optical"


@pytest.mark.ros
def test_another_resolution_while_running_is_followed_with_its_own_intrinsics(bench):
    seen = []
    b = bench(FakeStages(asked=lambda stage, name, frame: is_staged(frame) or seen.append((stage, frame))),
              classes=(*CORE, VizNode))
    b.await_state("TRACKING")
    b.until(lambda: b.heard["overlay"], "no overlay")
    b.lens = wide = PinholeCamera(64, 48, 61.0, 59.0, 31.0, 24.0)

    def with_it():
        return {stage for stage, frame in seen if frame.camera == wide}

    b.until(lambda: {"track", "judge"} <= with_it(), "the new images are not used")
    b.until(lambda: b.heard["overlay"][-1].width == 64, "the overlay keeps its size")
    first = min(frame.stamp_ns for _, frame in seen if frame.camera == wide)
    b.until(lambda: sum(stamp_of(m) >= first for m in b.heard["pose"]) > 3, "no poses in the new images")
    assert b.call(Trigger, "supervisor_node/cup/reset", Trigger.Request()).success
    b.until(lambda: {"localize", "register"} <= with_it(), "nothing is found in the new images")
    b.await_state("TRACKING")
    for _, frame in seen:
        assert frame.rgb.shape[:2] == frame.depth.shape == (frame.camera.height, frame.camera.width)
    assert {frame.camera for _, frame in seen} == {CAMERA, wide}, "intrinsics of both mixed"
    assert all(node.failure is None for node in b.nodes)
