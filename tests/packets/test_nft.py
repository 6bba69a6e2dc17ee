"""What nftables takes from us, and what is said when it does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from socklb.packets.nft import Nft, RefusedError
from socklb.packets.skeleton import skeleton
from tests.packets.network import Network


@pytest.fixture
def nft(network: Network) -> Iterator[Nft]:
    with network.inside("client"):  # which has no table otherwise
        handle = Nft()
        yield handle
        handle.run("add table inet socklb; delete table inet socklb")
        handle.close()


def test_no_rule_swaps_two_bytes_of_a_byte(network: Network) -> None:
    """nft 1.0.6 makes that of `meta l4proto` in a set of intervals; Linux 6.12.118 and 7.2 refuse the whole table."""
    written = network.run("client", "sh", "-c", f"nft --check --debug=netlink -f - <<'END'\n{skeleton()}\nEND").stdout
    assert "lookup reg" in written
    assert "byteorder" not in written


def test_a_refused_rule_is_named_and_the_part_of_it(nft: Nft) -> None:
    rule = "add rule inet socklb c ip daddr 192.0.2.1 goto nowhere"
    with pytest.raises(RefusedError) as refused:
        nft.run(f"add table inet socklb\nadd chain inet socklb c\n{rule}\n")
    assert f"No such file or directory: 'nowhere' in: {rule};" in str(refused.value)


def test_of_a_refused_command_with_many_elements_the_part_is_shown(nft: Nft) -> None:
    many = ", ".join(f"192.0.{n >> 8}.{n & 255}" for n in range(4000))
    nft.run(
        f"add table inet socklb\nadd set inet socklb s {{ type ipv4_addr; }}\nadd element inet socklb s {{ {many} }}"
    )
    with pytest.raises(RefusedError) as refused:
        nft.run(f"delete element inet socklb s {{ {many.replace('192.0.7.7,', '192.0.77.7,')} }}")
    assert "No such file or directory: '192.0.77.7' in: …" in str(refused.value)
    assert len(str(refused.value)) < 500
