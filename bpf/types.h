/* SPDX-License-Identifier: GPL-2.0-only */
/* What the kernel side and the Python side share: socklb/datapath/layout.py mirrors every struct here, and
 * tests/datapath/test_layout.py compares sizes and offsets with the object's BTF.
 *
 * Byte order: addresses and ports are in network order, as sockets have them; everything else is native.
 */
#ifndef SOCKLB_TYPES_H
#define SOCKLB_TYPES_H

#include <linux/types.h>

/* An IPv6 address, or an IPv4 address as ::ffff:a.b.c.d, so that an IPv4 Service is found from both families. */
struct address {
	__be32 word[4];
};

/* The bit of an address in the address filter (a multiply-xorshift hash). Python computes the same. */
#define FILTER_BITS (1 << 21)
static inline __attribute__((always_inline)) __u32 filter_bit(const struct address *a)
{
	__u64 hash = (__u64)a->word[3] << 32 | a->word[2];

	hash ^= ((__u64)a->word[0] << 32 | a->word[1]) * 0xff51afd7ed558ccdULL;
	hash = (hash ^ hash >> 33) * 0x9e3779b97f4a7c15ULL;
	return hash >> 43;
}

/* What a client connects to. A NodePort has the unspecified address of its family: ::ffff:0.0.0.0 or ::. */
struct frontend_key {
	struct address address;
	__be16 port;
	__u8 protocol; /* IPPROTO_TCP, _UDP or _SCTP; the hooks use the first two */
	__u8 scope; /* 0, or FROM_OUTSIDE */
};

/* A second row beside the one with scope 0, which has HAS_OUTSIDE: the backends for clients outside the cluster, which
 * keep their address (externalTrafficPolicy Local). Without backends, these are dropped. The two rows are not written
 * atomically: while there is no second row, the first one serves.
 */
#define FROM_OUTSIDE 1

/* One row of a frontend. Two words change while the row is published, each by one 64-bit store: `set` is base << 32 |
 * count, `options` is flags << 32 | seconds of session affinity. The key is repeated here because a row, unlike a hash
 * element, is never reused for another key while a reader may hold it. Port, protocol and scope are zero in a free row.
 */
struct frontend {
	struct frontend_key key;
	__u32 pad;
	__u64 set;
	__u64 options;
};

/* Flags of a frontend. */
#define LEAST_LOADED 1 /* TCP: take the less loaded of two random backends */
#define OWN_NODE_ONLY 2 /* a NodePort that other nodes serve themselves, on their packet path */
#define MAY_BE_BOUND 4 /* the Service's own server may listen at this very port of the node */
#define LENT 8 /* belongs to no Service but to the agent, for a moment; the hooks treat it like any other */
#define HAS_OUTSIDE 16 /* there is a row FROM_OUTSIDE beside this one */
#define GUARDED 32 /* only for clients in the source ranges of this row; the row FROM_OUTSIDE has no ranges */

/* One row of a backend set: rows base .. base + count - 1 belong to one set, in ascending order of address and port,
 * and do not change while it is published. `load` is the number under which the backend's connections are counted, 0:
 * they are not.
 */
struct backend {
	struct address address;
	__be16 port;
	__u16 pad;
	__u32 load;
};

/* A network of allowed clients for the frontend of a row (loadBalancerSourceRanges): a key of a trie, looked up with
 * SOURCE_BITS. The row is native and always matched in full.
 */
struct source_range {
	__u32 prefixlen; /* in bits, of what follows: the row, and the network as an IPv6 one */
	__u32 row;
	struct address address;
};
#define SOURCE_BITS (32 + 128)

/* A network of the configuration or of the cluster: a key of a trie, looked up with NETWORK_BITS. The value has the
 * flags of all networks that contain it.
 */
struct network {
	__u32 prefixlen; /* in bits, as for an IPv6 network */
	struct address address;
};
#define NETWORK_BITS 128
#define POD_NETWORK 1 /* of pods of the cluster */
#define NATIVE_NETWORK 2 /* reached by pods with their own address */
#define SERVICE_NETWORK 4 /* of ClusterIPs: an address that no Service has is refused */

/* What a socket asked for and what it was given. `note`, UDP: the row of the backend, which is tried first when the
 * socket asks again, with OF_UDP; TCP: the number under which the connection is counted, 0 if it is not.
 */
#define OF_UDP (1u << 31)
struct peer {
	struct address frontend;
	struct address backend;
	__be16 frontend_port;
	__be16 backend_port;
	__u32 note;
};

/* A socket's record, in a table indexed by socket cookie. cookie == 0: free. */
struct socket_slot {
	__u64 cookie;
	struct peer peer;
};

/* Records outside the slot table: the record of a socket whose slot belongs to another live socket (`front`), and the
 * older records of an unconnected UDP socket that talks to several Services (`behind`, a ring; a power of two).
 */
#define OLDER_PEERS 8
struct more_peers {
	__u32 next;
	struct peer front;
	struct peer behind[OLDER_PEERS];
};

/* Session affinity: which backend a network namespace was given last at the frontend of a row. */
struct client {
	__u64 netns; /* its cookie */
	__u32 row;
	__u32 pad;
};

/* The value repeats the client: a hash element may be reused for another one while it is read. */
struct affine {
	struct client client;
	__u64 seen; /* ns of CLOCK_MONOTONIC */
	struct address address;
	__be16 port;
	__u8 pad[6];
};

/* What the agent tells the hooks about the node. */
struct node {
	__u64 netns; /* cookie of the node's own network namespace; 0: not known */
};

/* What the hooks know about this kernel and the other parts; zero: not known. Each bit of a socket has its byte and a
 * mask.
 */
struct kernel_facts {
	__u32 kern_sock_byte; /* the socket is the kernel's own */
	__u32 kern_sock_mask;
	__u32 mptcp; /* whether a subflow's MPTCP socket can be found */
	__u32 ipv6only_byte; /* the socket is for IPv6 only */
	__u32 ipv6only_mask;
	__u32 bound_byte; /* the application chose its port (SOCK_BINDPORT_LOCK), not the kernel */
	__u32 bound_mask;
	__u32 packets; /* whether the packet path serves Service addresses that a hook lets pass */
	__u32 leave_pods; /* whether it serves sockets outside the node's own network namespace, and no hook does */
	__u32 leave_out; /* whether cgroups may be left out */
	__u32 count_connects; /* whether connects are counted by Service and backend */
	__u32 pad;
	__u64 asking; /* cookie of the agent's socket by which it learns its network namespace, see tell_agent() */
};

/* Numbers that hooks count: by `enum reason`, and this one. */
#define HOOK_COUNTS 32
#define UNCOUNTED (HOOK_COUNTS - 1) /* connects for which the count by Service and backend had no room */

/* What happened to records: `spilled`, how many found their slot in use and went to sk_storage; `lost`, for how many
 * there was no memory there either, so that their socket sees the backend's address instead of the Service's.
 */
struct bookkeeping {
	__u64 spilled;
	__u64 lost;
};

/* What identifies a packet's flow, in the same way for both directions. An ICMP echo has its identifier in place of the
 * requester's port, and zero in place of the other port.
 */
struct tuple {
	struct address source;
	struct address destination;
	__be16 source_port;
	__be16 destination_port;
	__u8 protocol;
	__u8 place; /* where it is handled: AS_IT_COMES or AS_IT_GOES */
	__u16 pad;
};
#define AS_IT_COMES 0
#define AS_IT_GOES 1

/* The ends of a flow: client, Service address, backend, and the node, whose address the backend sees if the client is
 * masqueraded.
 */
#define CLIENT 0
#define FRONTEND 1
#define BACKEND 2
#define NODE 3
/* Besides a port for each of them: the client's on the node, between ingress and egress. It differs from the client's
 * own if that already has a flow to the backend, through another frontend.
 */
#define ON_THE_WAY 4

/* A flow that the packet path translates. It has up to four tuples, each with an element of `flow_index` that contains
 * row << 2 | kind; bit `kind` of `kinds` says that this tuple has one.
 *   kind 0: client to frontend    1: backend to node    2: client to backend    3: backend to client
 * Kinds 1 and 2 exist if the client is masqueraded. `state` is number << 2 | FREE, BUSY or LIVE; the number
 * changes with every flow in the row. `seen` and `begun` are in units of 2^30 ns of CLOCK_MONOTONIC (coarse clock).
 */
struct flow {
	__u64 state;
	struct address ends[4];
	__u32 at; /* the backend's row when it was found last; another backend may be there now */
	__u32 spare;
	__be16 ports[8]; /* five of them; a power of two, for the verifier */
	__u32 seen;
	__u32 begun;
	__u32 row; /* of the frontend; NO_FRONTEND: not to a Service */
	__u32 device; /* the outgoing device for packets of this node's own process, see FROM_NODE */
	__u8 protocol;
	__u8 kinds;
	__u8 flags;
	__u8 pad;
	__u8 sides[2]; /* TCP flags that each side has sent, and HEARD; the client's first */
	__u8 unused[10];
};
#define FREE 0
#define BUSY 1
#define LIVE 2
#define NO_FRONTEND (~(__u32)0)
#define HEARD 128
/* Flags of a flow. */
#define REFLECTED \
	1 /* the client's own pod or node answers: both addresses change at once (kinds 0 and 1), and packets turn back */
#define FROM_NODE 2 /* the client is a process of this node: its packets change as they leave, answers as they arrive */
#define BY_LO \
	8 /* with FROM_NODE: packets to the process have an address of the node as their source, and arrive on lo */
#define TO_RESET 4 /* its backend is removed, and the Service asks for resets: each packet is answered by one */

/* A device by which the node reaches others: the addresses that it masquerades with there. Zero: none of this family.
 */
struct uplink {
	struct address ipv4;
	struct address ipv6;
};

#define ANY_UPLINK (~(__u32)0) /* instead of an interface index: the addresses of any uplink */

/* How a packet is redirected at a device, past the node's stack: see host_routing.h. */
#define TO_NEIGHBOUR 1 /* with an Ethernet header, as for any packet of the node */
#define INTO_POD 2 /* a pod's veth: the packet arrives at the pod's end at once */

/* The next hop from one address to another, as the routes had it at this time (in the unit of struct flow): it is valid
 * for a second at most. `longest`: packets up to this length fit.
 */
struct way {
	struct address source;
	struct address destination;
	struct address hop; /* in the form of its family */
	__u32 from; /* the device on which packets arrive */
	__u32 device; /* the one by which they leave */
	__u32 time;
	__u32 family;
	__u16 longest;
	__u8 class; /* of traffic */
	__u8 how; /* TO_NEIGHBOUR or INTO_POD */
	__u8 macs[12]; /* of receiver and sender */
};

/* Session affinity on the packet path: by the client's address. The value repeats the key, see struct affine. */
struct packet_client {
	struct address address;
	__u32 row;
	__u32 pad;
};
struct packet_affine {
	struct packet_client client;
	__u64 seen; /* ns of CLOCK_MONOTONIC */
	struct address address;
	__be16 port;
	__u8 pad[6];
};

/* What later fragments of a packet have in common with its first. */
struct fragment {
	struct address source;
	struct address destination;
	__be32 id;
	__u8 protocol;
	__u8 place;
	__u16 pad;
};

/* A socket that no hook saw sent a packet to a Service, and programs are needed at a device: that of the pod, whose
 * packet was dropped, or that of the backend that answers a process of the node.
 */
struct unhooked {
	struct address client;
	__u32 ifindex;
	__u32 pad;
};

/* Constants of the packet path, set before it is loaded. */
struct packet_facts {
	__u32 flow_mask; /* how many flows there is room for, minus one */
	__u32 host_routing; /* whether packets are redirected past the node's stack */
};

/* What happened to packets; one number per CPU each. */
enum packet_count {
	FLOWS_BEGUN,
	FLOWS_ENDED,
	REFUSED_PACKETS, /* answered by RST or an ICMP error */
	FORBIDDEN_PACKETS, /* not from the source ranges, or no backend for clients outside: dropped */
	LOST_NO_ROOM, /* no row for a new flow */
	LOST_NO_PORT, /* no free port to masquerade with */
	PACKET_COUNTS,
};

#endif
