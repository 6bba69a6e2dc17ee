"""A real Kubernetes cluster on this machine: the nodes of a kind cluster, which the first command on one of them makes.

`outside` is a client that is not a node: a container beside them, which the first command on it makes.

The cluster's name and the number of its workers are in inventory/group_data/kind.py.

    pyinfra inventory/kind.py deploys/cluster.py
"""

from inventory.group_data import kind as _data


def _worker(number: int) -> str:
    """Return a worker's name in kind: the first has no number."""
    return f"@kind/{_data.kind_cluster}-worker{number if number > 1 else ''}"


control_plane = [f"@kind/{_data.kind_cluster}-control-plane"]
workers = [_worker(number) for number in range(1, _data.kind_workers + 1)]
nodes = control_plane + workers
kubernetes = nodes  # they run a kubelet: pods and Services come from the API
outside = [("@kind/outside", {"container": f"{_data.kind_cluster}-outside"})]
