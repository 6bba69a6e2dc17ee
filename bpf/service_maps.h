/* SPDX-License-Identifier: GPL-2.0-only */
/* The tables that hooks and packet path share. The agent writes them, and the hooks count in `loads`.
 *
 * The kernel reuses a hash element at once, even for another key, while a reader may still hold it. So only an index is
 * read from a hash element, and the row with that index says which key it belongs to; for the address tables only
 * presence counts, which the lookup itself compares.
 */
#ifndef SOCKLB_SERVICE_MAPS_H
#define SOCKLB_SERVICE_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "types.h"

/* The agent sets the configured sizes of these tables (socklb/datapath/sizes.py). */
#define MAX_FRONTENDS (1 << 17)
#define MAX_BACKENDS (1 << 20)
#define MAX_NODE_ADDRESSES (1 << 17)
/* Backends whose connections are counted: */
#ifndef MAX_LOADS
#define MAX_LOADS (1 << 16)
#endif
#ifndef MAX_OWN_ADDRESSES
#define MAX_OWN_ADDRESSES (1 << 10)
#endif
/* Two tries, which use no memory for elements that they do not hold. */
#define MAX_SOURCE_RANGES (1 << 17)
#define MAX_NETWORKS (1 << 16) /* whatever the configuration: about one per node at most */
/* The row of a Service address, port and protocol. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_FRONTENDS);
	__type(key, struct frontend_key);
	__type(value, __u32);
} frontends SEC(".maps");

/* The frontends themselves. Mapped into the agent, which publishes a backend set by one 64-bit store. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_FRONTENDS);
	__type(key, __u32);
	__type(value, struct frontend);
} frontend_rows SEC(".maps");

/* Backend sets, each a range of rows. A range is written before it is published and rests after it was withdrawn. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_BACKENDS);
	__type(key, __u32);
	__type(value, struct backend);
} backends SEC(".maps");

/* One bit for each hash of an address that any frontend, Service or node has: most connections are to none of them, and
 * a clear bit says so without a hash lookup. The agent counts in user space how many addresses share a bit. Mapped: a
 * bit is set before the address is added, and cleared after it was removed.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FILTER_BITS / 64);
	__type(key, __u32);
	__type(value, __u64);
} address_filter SEC(".maps");

/* Addresses that belong to Services alone: a port without a frontend there is refused. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_FRONTENDS);
	__type(key, struct address);
	__type(value, __u8);
} service_addrs SEC(".maps");

/* Addresses of all nodes of the cluster: NodePorts are served there. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_NODE_ADDRESSES);
	__type(key, struct address);
	__type(value, __u8);
} node_addrs SEC(".maps");

/* Those of this node: a NodePort may be served differently there. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_OWN_ADDRESSES);
	__type(key, struct address);
	__type(value, __u8);
} own_addrs SEC(".maps");

/* The allowed clients of a GUARDED frontend. A range is added before its frontend, and removed after it. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_SOURCE_RANGES);
	__type(key, struct source_range);
	__type(value, __u8);
} source_ranges SEC(".maps");

/* Which networks an address is in. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_NETWORKS);
	__type(key, struct network);
	__type(value, __u8);
} networks SEC(".maps");

/* What the hooks need to know about the node. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct node);
} this_node SEC(".maps");

/* How many connections from this node each counted backend has. Mapped: the agent reuses a number for another backend
 * only when its count is zero.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_LOADS);
	__type(key, __u32);
	__type(value, __u64);
} loads SEC(".maps");

#endif
