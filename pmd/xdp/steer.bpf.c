// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
//
// Steering program: hands our packets to the AF_XDP socket of the queue they arrived on, and passes all else to the
// kernel, so that whatever the kernel serves on the same interface keeps working.
//
// Two ways, chosen by `settings[0]`:
//   STEER_ALL        everything is ours;
//   STEER_ADDRESSES  IPv4 packets to an address in `addresses`, and ARP (requests, replies, probes) for such an address.
//
// One or two VLAN tags are looked through. A tag that the device took off the frame is not seen here: switch that off
// with `ethtool -K IF rxvlan off` (on a veth: `txvlan off` on the peer).
//
// A queue without a socket in `xsks` passes too.

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define ETH_P_IP 0x0800
#define ETH_P_ARP 0x0806
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88a8

#define MAX_VLAN_TAGS 2

enum { STEER_ADDRESSES = 0, STEER_ALL = 1 };

struct eth {
	__u8 dst[6];
	__u8 src[6];
	__be16 proto;
} __attribute__((packed));

struct vlan_tag {
	__be16 tci;
	__be16 proto;
} __attribute__((packed));

// Up to the fields that are read; both headers are at least this long.
struct arp_ipv4 {
	__be16 htype, ptype;
	__u8 hlen, plen;
	__be16 oper;
	__u8 sha[6];
	__be32 spa;
	__u8 tha[6];
	__be32 tpa;
} __attribute__((packed));

struct ipv4 {
	__u8 before_dst[16];
	__be32 dst;
} __attribute__((packed));

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 64); // raised by the loader to the number of queues
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __be32);
	__type(value, __u8);
} addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} settings SEC(".maps");

static __always_inline int is_ours(__be32 address)
{
	return bpf_map_lookup_elem(&addresses, &address) != 0;
}

static __always_inline int is_for_us(void *at, void *end, __be16 proto)
{
	if (proto == bpf_htons(ETH_P_IP)) {
		struct ipv4 *ip = at;

		return (void *)(ip + 1) <= end && is_ours(ip->dst);
	}
	if (proto == bpf_htons(ETH_P_ARP)) {
		struct arp_ipv4 *arp = at;

		return (void *)(arp + 1) <= end && is_ours(arp->tpa);
	}
	return 0;
}

static __always_inline int decide(struct xdp_md *ctx)
{
	void *at = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u32 zero = 0;
	__u32 *how = bpf_map_lookup_elem(&settings, &zero);

	if (!how || *how != STEER_ALL) {
		struct eth *eth = at;
		__be16 proto;

		if ((void *)(eth + 1) > end)
			return XDP_PASS;
		proto = eth->proto;
		at = eth + 1;
#pragma unroll
		for (int i = 0; i < MAX_VLAN_TAGS; i++) {
			struct vlan_tag *tag = at;

			if (proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD))
				break;
			if ((void *)(tag + 1) > end)
				return XDP_PASS;
			proto = tag->proto;
			at = tag + 1;
		}
		if (!is_for_us(at, end, proto))
			return XDP_PASS;
	}
	return bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS);
}

SEC("xdp")
int steer(struct xdp_md *ctx)
{
	return decide(ctx);
}

// The same for frames in several pieces (MTU beyond a page): all headers that are read lie in the first.
SEC("xdp.frags")
int steer_pieces(struct xdp_md *ctx)
{
	return decide(ctx);
}

char _license[] SEC("license") = "Dual MIT/GPL";
