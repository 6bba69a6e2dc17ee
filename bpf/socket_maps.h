/* SPDX-License-Identifier: GPL-2.0-only */
/* The tables of the hooks alone, which write them. */
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

/* Who was given what, for session affinity. Forgetting the one longest unseen costs a client its affinity, no more. */
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

/* Cgroups that are left out, by id, and since when (seconds since 1970). The kernel gives no id twice. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_LEFT_OUT);
	__type(key, __u64);
	__type(value, __u64);
} left_out SEC(".maps");

/* What was found of cgroups, by the low bits of their ids: id << 1, and 1 if it is left out. The kernel numbers cgroups in
 * sequence, so few of them share a row. The last row is zero while nothing is left out. Mapped: the agent writes that, and
 * forgets the others.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, KNOWN_CGROUPS + 1);
	__type(key, __u32);
	__type(value, __u64);
} known_cgroups SEC(".maps");

/* How many connects asked for a frontend and were led to a backend: a peer whose note is the protocol. Only counted where the
 * configuration wants it. The agent takes out what is long gone.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_CONNECTS);
	__type(key, struct peer);
	__type(value, __u64);
} connects SEC(".maps");

/* How often a call was refused, by its reason; behind them how many connects found no room above. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, HOOK_COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} hook_counts SEC(".maps");

#if SOCKET_SLOTS
/* One record a live socket, indexed by the low bits of its cookie: cookies are handed out in sequence, so two live
 * sockets meet in one slot only when about as many sockets live as there are slots. Mapped, so that `socklb status` can
 * count it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SOCKET_SLOTS);
	__type(key, __u32);
	__type(value, struct socket_slot);
} sockets SEC(".maps");
#endif

/* The records that have no slot. They live and die with the socket. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct more_peers);
} more_peers SEC(".maps");

#endif
