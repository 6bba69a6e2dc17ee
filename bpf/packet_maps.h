/* SPDX-License-Identifier: GPL-2.0-only */
/* The tables that only the packet path uses. The agent writes `uplinks`, `pod_devices` and `ways`; it reads the others.
 */
#ifndef SOCKLB_PACKET_MAPS_H
#define SOCKLB_PACKET_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "types.h"

/* A power of two; the agent sets the configured size, and four times that for the index. */
#define MAX_FLOWS (1 << 17)
#define MAX_DEVICES (1 << 10)
#define MAX_KNOWN_WAYS (1 << 12)
#define MAX_PACKET_CLIENTS (1 << 16)
#define MAX_FRAGMENTS (1 << 13)
#define MAX_EVENTS (1 << 16) /* bytes */
#define MASQUERADE_BITS (1 << 16)
#define PAIRS (1 << 19)

/* Which flow a packet belongs to: row << 2 | kind, see struct flow. There is room for all tuples of all rows, because
 * no element is evicted to make room; and it is preallocated: otherwise one connect in a hundred would wait 20 us for
 * the kernel to allocate more.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4 * MAX_FLOWS);
	__type(key, struct tuple);
	__type(value, __u32);
} flow_index SEC(".maps");

/* The flows. Mapped into the agent, which reads them. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_FLOWS);
	__type(key, __u32);
	__type(value, struct flow);
} flows SEC(".maps");

/* Like address_filter, for the addresses that clients are masqueraded to: an uplink may have one that the cluster does
 * not know as the node's. Bits are set by the programs and never cleared; a wrong one costs a lookup.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MASQUERADE_BITS / 64);
	__type(key, __u32);
	__type(value, __u64);
} masquerade_filter SEC(".maps");

/* Pairs of addresses between which an outgoing packet may belong to a translated flow; not 0: it may. So other packets
 * need no lookup in the index, which is too large for a CPU's caches. The programs mark pairs, and nobody clears them;
 * a wrong one costs that lookup. Bytes, because kernels before 5.12 cannot set a bit atomically.
 */
struct pairs {
	__u8 known[64];
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PAIRS / sizeof(struct pairs));
	__type(key, __u32);
	__type(value, struct pairs);
} pair_filter SEC(".maps");

/* By interface index, or ANY_UPLINK. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_DEVICES);
	__type(key, __u32);
	__type(value, struct uplink);
} uplinks SEC(".maps");

/* Devices towards pods whose ingress has pod_in. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_DEVICES);
	__type(key, __u32);
	__type(value, __u8);
} pod_devices SEC(".maps");

/* Host routing: how packets are redirected at a device, by its interface index. At other devices the stack sends them.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_DEVICES);
	__type(key, __u32);
	__type(value, __u8);
} ways SEC(".maps");

/* Host routing: recent route lookups, by a hash of the addresses. Per CPU, so that no entry is written while it is
 * read. This large only with host routing, and never pinned.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_KNOWN_WAYS);
	__type(key, __u32);
	__type(value, struct way);
} known_ways SEC(".maps");

/* If the least recently seen client is evicted, it only loses its affinity. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_PACKET_CLIENTS);
	__type(key, struct packet_client);
	__type(value, struct packet_affine);
} packet_affinity SEC(".maps");

/* The flow of a packet's first fragment, in the format of flow_index. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_FRAGMENTS);
	__type(key, struct fragment);
	__type(value, __u32);
} fragments SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PACKET_COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} packet_counters SEC(".maps");

/* For the agent: struct unhooked. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, MAX_EVENTS);
} unhooked SEC(".maps");

static __always_inline __u64 *masquerade_word(const struct address *address)
{
	__u32 word = filter_bit(address) % MASQUERADE_BITS / 64;

	return bpf_map_lookup_elem(&masquerade_filter, &word);
}

static __always_inline int may_be_masquerade(const struct address *address)
{
	__u64 *word = masquerade_word(address);

	return word && *word >> (filter_bit(address) & 63) & 1;
}

static __always_inline void note_masquerade(const struct address *address)
{
	__u64 *word = masquerade_word(address), bit = 1ULL << (filter_bit(address) & 63);

	if (word && !(*word & bit))
		*word |= bit;
}

/* Return the mark of a pair: the same for both directions. */
static __always_inline __u8 *mark_of(const struct address *a, const struct address *b)
{
	__u32 number = (filter_bit(a) ^ filter_bit(b)) % PAIRS, row = number / sizeof(struct pairs);
	struct pairs *pairs = bpf_map_lookup_elem(&pair_filter, &row);

	return pairs ? &pairs->known[number % sizeof(struct pairs)] : NULL;
}

/* A function of its own, because inlined it costs the programs 64 bytes of stack. */
static __noinline int may_be_pair(const struct address *a, const struct address *b)
{
	__u8 *mark = mark_of(a, b);

	return mark && *mark;
}

static __always_inline void note_pair(const struct address *a, const struct address *b)
{
	__u8 *mark = mark_of(a, b);

	if (mark && !*mark)
		*mark = 1;
}

static __always_inline void count(__u32 what)
{
	__u64 *counter = bpf_map_lookup_elem(&packet_counters, &what);

	if (counter)
		(*counter)++;
}

#endif
