"""What the cluster says, as checked objects: from a folder of manifests, or from the Kubernetes API.

    source: what both offer to the agent: batches of changes
    objects, marks: the Kubernetes objects as far as they are read; the labels and annotations that are kept
    kinds, decode, checks, addresses: which kinds are read; from a decoded document to a checked object
    manifests, watch: the folder as a source; when to look into it again
    manifest_file, documents, findings: one file; its YAML or JSON documents; the objects of one document
    cluster, resources, known: the API as a source; what is followed there; what was said last and not told yet
    reflector, lists, reading: one resource, listed once and then watched; its list; one object as the server sent it
    follower, other_nodes: the loop that both kinds of threads share; the other Nodes, looked at instead of watched
    connection, credentials, asking: the servers, the credentials, and a request that another thread can end
    failures, backoff, troubles: why a request failed, how long to wait, and what does not work at present

Not promised: full validation, which is the API server's work. An object that cannot be read stays as it was; a source
never says that an object is gone because it cannot read it.
"""
