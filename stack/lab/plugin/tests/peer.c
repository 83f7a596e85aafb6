/* The hand-made TCP peer of the driver. */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "interface.h"

static const char HERE[] = "192.168.0.1", THERE[] = "192.0.2.1";

struct sockaddr_in address(int here, uint16_t port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(port) };
	inet_pton(AF_INET, here ? HERE : THERE, &addr.sin_addr);
	return addr;
}

long long now(void)
{
	struct timeval tv;
	CHECK(DO(gettimeofday, &tv, NULL) == 0);
	return tv.tv_sec * 1000000LL + tv.tv_usec;
}

static uint32_t sum(const uint8_t *bytes, size_t len, uint32_t sum)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		sum += bytes[i] << 8 | bytes[i + 1];
	return len & 1 ? sum + (bytes[len - 1] << 8) : sum;
}

static uint16_t folded(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void put16(uint8_t *at, uint16_t value)
{
	at[0] = value >> 8;
	at[1] = value & 0xff;
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value & 0xffff);
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
}

static uint16_t tcp_checksum(const uint8_t *packet, size_t tcp_len)
{
	return folded(sum(packet + 20, tcp_len, sum(packet + 12, 8, 6 + tcp_len)));
}

void inject(uint16_t from, uint16_t to, unsigned flags, uint32_t seq, uint32_t ack, unsigned len)
{
	static uint8_t packet[65535];
	/* A SYN has an MSS of 1000. */
	unsigned options = flags & SYN ? 4 : 0, total = 40 + options + len;
	memset(packet, 0, total);
	packet[0] = 0x45;
	put16(packet + 2, total);
	packet[8] = 64;
	packet[9] = IPPROTO_TCP;
	inet_pton(AF_INET, THERE, packet + 12);
	inet_pton(AF_INET, HERE, packet + 16);
	put16(packet + 10, folded(sum(packet, 20, 0)));
	uint8_t *tcp = packet + 20;
	put16(tcp, from);
	put16(tcp + 2, to);
	put32(tcp + 4, seq);
	put32(tcp + 8, ack);
	tcp[12] = (20 + options) << 2;
	tcp[13] = flags;
	put16(tcp + 14, 65535);
	if (options)
		put32(tcp + 20, 0x02040000 | 1000);
	put16(tcp + 16, tcp_checksum(packet, 20 + options + len));
	CHECK(DO(netdev_send, packet, total) == 0);
}

struct segment sent(void)
{
	static uint8_t packet[65536];
	size_t count = sizeof(packet);
	long long at = -1;
	CHECK(DO(netdev_receive, packet, &count, &at) == 0);
	CHECK(count >= 40 && packet[0] == 0x45 && packet[9] == IPPROTO_TCP);
	CHECK(count == (size_t)(packet[2] << 8 | packet[3]));
	CHECK(tcp_checksum(packet, count - 20) == 0);
	const uint8_t *tcp = packet + 20;
	return (struct segment){
		.from = tcp[0] << 8 | tcp[1],
		.to = tcp[2] << 8 | tcp[3],
		.seq = get32(tcp + 4),
		.ack = get32(tcp + 8),
		.flags = tcp[13],
		.len = count - 20 - (tcp[12] >> 4) * 4,
		.at = at,
	};
}

size_t nothing_sent(void)
{
	static uint8_t packet[65536];
	size_t count = sizeof(packet);
	long long at;
	CHECK(DO(netdev_receive, packet, &count, &at) == 0);
	return count;
}
