"""What the tables hold where packets are served from them too, and what where sockets alone are."""

import socket
from typing import Any

from socklb.model import FROM_OUTSIDE, Backend, Difference, Frontend, Serving, pack_address

A, B = (Backend(pack_address(f"10.1.1.{n}"), 8080) for n in (1, 2))
WEB = Frontend(pack_address("192.0.2.1"), 80, socket.IPPROTO_TCP)
OUTSIDE = WEB._replace(scope=FROM_OUTSIDE)
SCTP = WEB._replace(protocol=socket.IPPROTO_SCTP)


def served(difference: Difference, *, tables: Any = ()) -> dict[Frontend, Serving]:
    """What is there once a difference was applied to tables that hold this already."""
    held = {frontend: serving for frontend, serving in dict(tables).items() if frontend not in difference.delete}
    return held | dict(difference.put)


def test_clients_outside_have_a_second_row_where_others_serve_them() -> None:
    local = Serving((A, B), affinity=60, least_loaded=True, own_node_only=True, outside=(B,))
    found = Difference({WEB: local}).for_tables()
    assert served(found) == {WEB: local, OUTSIDE: Serving((B,), affinity=60, least_loaded=True)}


def test_nobody_for_clients_outside_is_a_row_too() -> None:
    assert served(Difference({WEB: Serving((A,), outside=())}).for_tables())[OUTSIDE] == Serving()


def test_the_second_row_goes_with_the_policy_and_with_the_frontend() -> None:
    before = served(Difference({WEB: Serving((A, B), outside=(B,))}).for_tables())
    assert served(Difference({WEB: Serving((A, B))}).for_tables(), tables=before) == {WEB: Serving((A, B))}
    assert served(Difference(delete=frozenset({WEB})).for_tables(), tables=before) == {}


def test_what_no_socket_is_served_is_in_the_tables_for_packets() -> None:
    guarded, plain = Serving((A,), sources=("10.0.0.0/8",)), Serving((A,))
    both = Difference({WEB: guarded, SCTP: plain})
    assert served(both.for_tables()) == {WEB: guarded, SCTP: plain}
    assert served(both.for_sockets(), tables={WEB: plain}) == {}


def test_sockets_alone_have_no_second_row_and_no_word_of_it() -> None:
    local = Serving((A, B), own_node_only=True, outside=(B,))
    assert served(Difference({WEB: local}).for_sockets()) == {WEB: local._replace(outside=None)}
