"""Where things stand in the drawings."""

import pytest

from labs.engine.latency import Latencies
from labs.engine.report.arrows import ladder
from labs.engine.report.plot import plot
from labs.engine.report.topology import topology
from labs.engine.report.who import Kind
from tests.unit.labs.clusters import local
from tests.unit.labs.frames import packet

CLIENT, WEB, NODE_PORT = "10.244.1.2:40000", "10.244.2.3:8080", "172.18.0.4:32000"


def test_a_ladder_has_a_column_for_each_name_and_an_arrow_for_each_packet() -> None:
    v6 = packet("fd00:10:244:1::2:40001", "fd00:10:244:2::3:8080", at=0.5)
    drawn = ladder([packet(CLIENT, WEB), packet(WEB, CLIENT, "SYN,ACK", at=0.0015), v6], local())
    assert [column.name for column in drawn.columns] == ["client", "web-2"], "one column for both families"
    assert [(arrow.what, arrow.to_right, arrow.ms) for arrow in drawn.arrows] == [
        ("SYN", True, "0.00"),
        ("SYN,ACK", False, "1.50"),
        ("SYN", True, "500.00"),
    ]
    assert [arrow.y for arrow in drawn.arrows] == sorted(arrow.y for arrow in drawn.arrows)


def test_a_node_and_the_node_port_on_it_are_two_columns() -> None:
    drawn = ladder([packet(CLIENT, NODE_PORT), packet(CLIENT, "172.18.0.4:22")], local())
    assert [(column.name, column.kind) for column in drawn.columns][1:] == [("w2", Kind.SERVICE), ("w2", Kind.NODE)]
    assert [arrow.to_service for arrow in drawn.arrows] == [True, False]


def test_a_long_ladder_begins_where_a_service_is_first_asked() -> None:
    quiet = [packet(CLIENT, WEB, at=float(at)) for at in range(20)]
    drawn = ladder([*quiet, packet(CLIENT, NODE_PORT, at=20.0), *quiet], local())
    assert drawn.arrows[0].to_service
    assert (len(drawn.arrows), drawn.left_out) == (12, 29)
    assert not ladder(quiet, local()).asks_services


def test_a_ladder_is_told_in_a_sentence() -> None:
    assert ladder([packet(CLIENT, NODE_PORT)], local()).told == "1 packet between pod client, NodePort w2."


def test_each_pod_stands_inside_its_node_and_lines_lead_from_a_service_to_its_pods() -> None:
    cluster = local()
    drawn = topology(cluster)
    nodes = {box.name: box for box in drawn.nodes}
    for box in drawn.pods:
        node = nodes[cluster.pods[box.name].node]
        assert node.x < box.x
        assert box.x + box.width < node.x + node.width
        assert box.y + box.height < node.y + node.height
    served = sum(len(cluster.serving(name)) for name in cluster.services)
    assert len(drawn.lines) == served
    ends = {line.points.rpartition(" ")[2] for line in drawn.lines}
    assert ends == {f"{box.x:g},{box.y + box.height / 2:g}" for box in drawn.pods if not box.name.startswith("client")}


def test_a_plot_has_its_marks_in_order_on_an_axis_from_zero() -> None:
    drawn = plot(Latencies("connect()", {"slow": [200.0, 100.0, 300.0], "fast": [10.0]}))
    slow, fast = drawn.rows
    assert slow.values[50] == 200.0
    assert slow.values[95] == pytest.approx(290.0)
    assert sorted(slow.x.values()) == [*slow.x.values()]
    assert fast.x[50] < slow.x[5] < slow.x[95] <= drawn.width
    assert drawn.ticks[0][1] == "0"
    assert 4 <= len(drawn.ticks) <= 10


def test_what_has_no_sample_has_no_row() -> None:
    assert not plot(Latencies("connect()", {"nothing": []})).rows
