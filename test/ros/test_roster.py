"""Objects that come, change and go while the nodes run."""

import pytest
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from storm_core.errors import InputError
from storm_ros import records
from storm_ros.roster import Roster, RosterChange, change, read_roster, roster_message
from test.ros.bench import ALL
from test.ros.fakes import FakeStages


def test_a_roster_survives_the_wire_and_says_what_changes():
    roster = Roster(folder="/models é", digests={"cup": "a", "1": "b"})
    assert read_roster(roster_message(roster)) == roster and roster.objects == ("cup", "1")
    assert change({"cup": "a", "1": "b"}, {"1": "c", "pot": "d"}) == RosterChange(("pot",), ("cup",), ("1",))
    assert not change({"cup": "a"}, {"cup": "a"})
    message = roster_message(roster)
    message.status[0].values.clear()
    with pytest.raises(InputError, match="malformed roster message"):
        read_roster(message)


@pytest.mark.ros
def test_objects_are_added_replaced_and_removed_while_others_are_tracked(bench):
    b = bench(FakeStages(), classes=ALL)
    b.await_state("TRACKING")

    def objects(names):
        value = Parameter("objects", Parameter.Type.STRING_ARRAY, names).to_parameter_msg()
        return b.call(SetParameters, "supervisor_node/set_parameters",
                      SetParameters.Request(parameters=[value])).results[0]

    epoch = b.status()["epoch"]
    assert objects(["cup", "pot"]).successful
    b.await_state("TRACKING", "pot")
    assert b.status()["epoch"] == epoch and b.status()["state"] == "TRACKING", "the cup was disturbed"
    b.until(lambda: {d.id for d in b.heard["detections"][-1].detections} == {"cup", "pot"}, "not both are published")
    asked = b.call(GetParameters, "som_node/get_parameters", GetParameters.Request(names=["objects"]))
    assert asked.values[0].string_array_value == ["cup", "pot"]
    refused = objects(["cup", "plate"])
    assert not refused.successful and "no object 'plate'" in refused.reason

    b.fake.version = 1
    answer = b.call(Trigger, "supervisor_node/reload_models", Trigger.Request())
    assert answer.success and "cup, pot" in answer.message
    b.until(lambda: int(b.status()["epoch"]) > int(epoch) and b.status()["state"] == "TRACKING", "not replaced")

    assert objects(["pot"]).successful
    b.until(lambda: [s.name for s in b.heard["status"][-1].status] == ["pot"], "the cup is still there")
    b.await_state("TRACKING", "pot")
    b.until(lambda: {t.child_frame_id for t in b.heard["tf"][-1].transforms} == {"pot"}, "still broadcast")
    count = len(b.heard["pose"])
    b.until(lambda: len(b.heard["pose"]) > count, "the remaining object is not the primary one")
    assert objects(["pot", "cup"]).successful
    b.await_state("TRACKING", "cup")
    assert records.values_of(b.heard["status"][-1].status[0])["state"] == "TRACKING"
    assert all(node.failure is None for node in b.nodes)
