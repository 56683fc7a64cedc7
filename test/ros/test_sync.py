"""Colour, depth and intrinsics find each other by stamp; the newest wins; what is missing is named."""

import random

from storm_ros.frames import FrameBuffer, LazyFrame
from storm_ros.names import CAMERA_INFO, DEPTH_IMAGE, IMAGE
from storm_ros.sync import FrameSync

MS = 1_000_000


def feed(sync, *messages, now=0.0):
    return [frame for topic, stamp in messages if (frame := sync.add(topic, stamp, (topic, stamp), now))]


def test_three_messages_of_one_stamp_make_a_frame_in_any_order():
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]):
        sync = FrameSync(20 * MS)
        messages = [(IMAGE, 5), (DEPTH_IMAGE, 5), (CAMERA_INFO, 5)]
        (frame,) = feed(sync, *(messages[k] for k in order))
        assert frame.stamp_ns == 5 and frame.image == (IMAGE, 5) and frame.depth == (DEPTH_IMAGE, 5)


def test_stamps_within_the_slop_belong_together_and_others_do_not():
    sync = FrameSync(20 * MS)
    assert feed(sync, (CAMERA_INFO, 0), (DEPTH_IMAGE, 0), (IMAGE, 21 * MS)) == []
    (frame,) = feed(sync, (DEPTH_IMAGE, 40 * MS))
    assert (frame.stamp_ns, frame.depth) == (21 * MS, (DEPTH_IMAGE, 40 * MS))


def test_the_nearest_depth_is_taken():
    sync = FrameSync(20 * MS)
    (frame,) = feed(sync, (CAMERA_INFO, 0), (DEPTH_IMAGE, 85 * MS), (DEPTH_IMAGE, 98 * MS), (DEPTH_IMAGE, 119 * MS),
                    (IMAGE, 100 * MS))
    assert frame.depth == (DEPTH_IMAGE, 98 * MS)


def test_intrinsics_outlive_the_frame_they_came_with():
    sync = FrameSync(20 * MS)
    feed(sync, (CAMERA_INFO, 0), (IMAGE, 0), (DEPTH_IMAGE, 0))
    (frame,) = feed(sync, (IMAGE, 300 * MS), (DEPTH_IMAGE, 300 * MS))
    assert frame.info == (CAMERA_INFO, 0)


def test_frames_never_go_back_in_time_however_messages_are_shuffled():
    rng = random.Random(1)
    for _ in range(20):
        messages = [(topic, k * 33 * MS) for k in range(30) for topic in (IMAGE, DEPTH_IMAGE, CAMERA_INFO)]
        messages = [m for _, m in sorted(enumerate(messages), key=lambda e: e[0] + rng.uniform(0, 12))]
        frames = feed(FrameSync(10 * MS), *messages)
        stamps = [frame.stamp_ns for frame in frames]
        assert stamps == sorted(set(stamps)) and len(stamps) > 10
        assert all(frame.depth[1] == frame.stamp_ns for frame in frames)


def test_a_recording_that_starts_again_is_followed():
    sync = FrameSync(10 * MS)
    feed(sync, (CAMERA_INFO, 10**10), (IMAGE, 10**10), (DEPTH_IMAGE, 10**10))
    assert [f.stamp_ns for f in feed(sync, (IMAGE, 5), (DEPTH_IMAGE, 5))] == [5]


def test_the_missing_topic_is_named():
    sync = FrameSync(10 * MS)
    sync.add(IMAGE, 0, "x", 0.0)
    sync.add(CAMERA_INFO, 0, "x", 0.0)
    assert sync.problems(0.5, 1.0) == ["no message on depth_image yet"]
    sync.add(DEPTH_IMAGE, 0, "x", 0.5)
    assert sync.problems(0.6, 1.0) == []
    sync.add(DEPTH_IMAGE, 33 * MS, "x", 3.0)
    assert sync.problems(3.0, 1.0) == ["no message on image for 3.0 s"]


def test_stamps_that_never_meet_are_explained():
    sync = FrameSync(10 * MS)
    sync.add(CAMERA_INFO, 0, "x", 0.0)
    for k in range(5):
        sync.add(IMAGE, k * 100 * MS, "x", 0.1 * k)
        sync.add(DEPTH_IMAGE, (k * 100 + 45) * MS, "x", 0.1 * k)
    (line,) = sync.problems(0.5, 1.0)
    assert "differ by 45 ms" in line and "input.slop (10 ms)" in line


def lazy(stamp, decoded=None):
    def decode():
        if decoded is not None:
            decoded.append(stamp)
        return f"frame {stamp}"

    return LazyFrame(stamp, "optical", decode)


def test_a_frame_is_decoded_once_and_only_when_used():
    decoded = []
    frame = lazy(3, decoded)
    assert decoded == []
    assert frame.frame() == frame.frame() == "frame 3" and decoded == [3]


def test_the_buffer_keeps_recent_frames_all_and_older_ones_thinned():
    buffer = FrameBuffer(dense=10, sparse=5, every=3)
    for k in range(100):
        buffer.push(lazy(k))
    kept = [frame.stamp_ns for frame in buffer.after(-1)]
    assert kept[-10:] == list(range(90, 100)) and kept[:-10] == [75, 78, 81, 84, 87]
    assert buffer.newest().stamp_ns == 99 and [f.stamp_ns for f in buffer.after(97)] == [98, 99]


def test_a_pinned_frame_stays_until_it_is_released():
    buffer = FrameBuffer(dense=4, sparse=2, every=3)
    for k in range(8):
        buffer.push(lazy(k))
    buffer.pin("cup", 5)
    for k in range(8, 60):
        buffer.push(lazy(k))
    assert buffer.nearest(5).stamp_ns == 5
    buffer.unpin("cup")
    buffer.push(lazy(60))
    assert buffer.nearest(5) is None and buffer.nearest(58, 10).stamp_ns == 58
    assert len(buffer.after(-1)) <= 6


def test_a_jump_back_in_time_empties_the_buffer():
    buffer = FrameBuffer()
    buffer.push(lazy(10**10))
    buffer.push(lazy(5))
    assert [frame.stamp_ns for frame in buffer.after(-1)] == [5]
