/* SPDX-License-Identifier: GPL-2.0-only */
/* The tables that only the hooks use; they write them. */
#ifndef SOCKLB_SOCKET_MAPS_H
#define SOCKLB_SOCKET_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "types.h"

/* Clients that are remembered for session affinity. */
#ifndef MAX_CLIENTS
#define MAX_CLIENTS (1 << 16)
#endif
/* A node has some hundred pods. */
#ifndef MAX_LEFT_OUT
#define MAX_LEFT_OUT (1 << 12)
#endif
#define KNOWN_CGROUPS (1 << 12) /* a power of two */
/* Slots for live sockets, a power of two, the same for every configuration: they are found by the low bits of cookies.
 * 0 keeps every record in sk_storage (kernels before 5.12 have no atomic compare-and-swap for programs: commit
 * 5ffa25502b5a).
 */
#ifndef SOCKET_SLOTS
#define SOCKET_SLOTS (1 << 18)
#endif

/* Frontends and backends whose connects are counted. */
#ifndef MAX_CONNECTS
#define MAX_CONNECTS (1 << 14)
#endif

/* The backend of each client, for session affinity. If the least recently seen client is evicted, it only loses its
 * affinity.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_CLIENTS);
	__type(key, struct client);
	__type(value, struct affine);
} affinity SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bookkeeping);
} bookkeeping SEC(".maps");

/* Cgroups that are left out, by id, and since when (seconds since 1970). The kernel never reuses an id. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_LEFT_OUT);
	__type(key, __u64);
	__type(value, __u64);
} left_out SEC(".maps");

/* The results for cgroups, by the low bits of their ids: id << 1, and 1 if it is left out. The kernel numbers cgroups
 * in sequence, so few of them share a row. The last row is zero while nothing is left out. Mapped: the agent writes the
 * last row, and clears the others.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, KNOWN_CGROUPS + 1);
	__type(key, __u32);
	__type(value, __u64);
} known_cgroups SEC(".maps");

/* How many connects to a frontend were translated to a backend: a peer whose note is the protocol. Only counted if
 * configured. The agent deletes old counts.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_CONNECTS);
	__type(key, struct peer);
	__type(value, __u64);
} connects SEC(".maps");

/* How often a call was refused, by reason; the last one is how many connects did not fit above. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, HOOK_COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} hook_counts SEC(".maps");

#if SOCKET_SLOTS
/* One record per live socket, indexed by the low bits of its cookie: cookies are assigned in sequence, so two live
 * sockets share a slot only when there are about as many live sockets as slots. Mapped, so that `socklb status` can
 * count them.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SOCKET_SLOTS);
	__type(key, __u32);
	__type(value, struct socket_slot);
} sockets SEC(".maps");
#endif

/* The records that have no slot. They are freed with the socket. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct more_peers);
} more_peers SEC(".maps");

#endif
