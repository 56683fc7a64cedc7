"""What a user points at: a mask, a box or a point, on its way to the search that uses it."""

import numpy as np
import pytest
from geometry_msgs.msg import Point, PointStamped
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2D

from storm_ros import conversions, names, qos
from test.ros.fakes import CAMERA, FakeStages

pytestmark = pytest.mark.ros

AT = conversions.header(0, "optical")


@pytest.fixture
def pointing(bench):
    """An object that is not there, looked for again and again; a publisher of hints; those that a search was given."""
    def make(kind, topic, objects=("cup",)):
        b = bench(FakeStages(), objects=list(objects))
        b.visible = False
        for name in objects:
            b.await_state("ABSENT", name)
        publisher = b.node.create_publisher(kind, topic, qos.results())
        b.until(lambda: publisher.get_subscription_count() == 1, "nobody listens to hints")
        return b, publisher

    return make


def used(b, what):
    """(object, hint) of the searches that were given one of this kind."""
    return [(name, getattr(hint, what)) for name, _, hint in b.fake.searched if getattr(hint, what) is not None]


def test_a_mask_is_given_to_one_search(pointing):
    b, hint = pointing(Image, names.mask_hint_topic("cup"))
    mask = np.eye(24, 32) > 0
    hint.publish(conversions.mask_image(mask, AT))
    b.until(lambda: used(b, "mask"), "the hint is not used")
    count = len(b.fake.searched)
    b.until(lambda: len(b.fake.searched) > count + 1, "it is looked for no more")
    ((name, given),) = used(b, "mask")
    assert name == "cup" and np.array_equal(given, mask)


def test_a_box_is_given_to_one_search_of_its_object_in_pixels(pointing):
    b, hint = pointing(Detection2D, names.box_hint_topic("pot"), objects=("cup", "pot"))
    message = Detection2D(header=AT)
    message.bbox.center.position.x, message.bbox.center.position.y = 16.0, 12.0
    hint.publish(message)
    b.until(lambda: any("give its size" in s.message for m in b.heard["diagnostics"] for s in m.status),
            "a box without a size is not refused")
    assert used(b, "box") == []
    message.bbox.size_x, message.bbox.size_y = 8.0, 6.0
    hint.publish(message)
    b.until(lambda: used(b, "box"), "the hint is not used")
    count = len(b.fake.searched)
    b.until(lambda: len(b.fake.searched) > count + 2, "it is looked for no more")
    assert used(b, "box") == [("pot", (12.0, 9.0, 20.0, 15.0))]


def test_a_point_clicked_in_rviz_is_given_to_every_object_as_the_pixel_that_shows_it(pointing):
    b, hint = pointing(PointStamped, names.CLICKED_POINT, objects=("cup", "pot"))
    point = Point(x=0.1, y=-0.05, z=0.5)
    hint.publish(PointStamped(header=conversions.header(0, "map"), point=point))
    b.until(lambda: any("set rviz's fixed frame" in s.message for m in b.heard["diagnostics"] for s in m.status),
            "a point in another frame is not refused")
    assert used(b, "point") == []
    hint.publish(PointStamped(header=AT, point=point))
    b.until(lambda: len(used(b, "point")) == 2, "the hint is not used")
    assert {name for name, _ in used(b, "point")} == {"cup", "pot"}
    expected = (CAMERA.fx * 0.1 / 0.5 + CAMERA.cx, CAMERA.fy * -0.05 / 0.5 + CAMERA.cy)
    assert all(given == pytest.approx(expected) for _, given in used(b, "point"))
