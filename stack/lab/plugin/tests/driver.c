/* Loads the plug-in as the packetdrill tool does and plays with every slot of its table.
 *
 *   driver PLUGIN          exit status 0 when everything is as it should be
 *   driver PLUGIN wrong    expects a retransmission at a wrong time: must fail
 *   driver PLUGIN trains F super-segments, with the flags F
 *   driver PLUGIN flags F  flags F that are wrong: must fail
 *
 * libmillrace_drill_preload.so is preloaded: getsockopt, close and sendfile below are libc's.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "interface.h"

#define MS 1000LL

struct packetdrill_interface ifc;
static char zeros[65536];

/* A blocking call on a second thread. */
struct call {
	pthread_t thread;
	int (*make)(struct call *);
	int fd, result, error;
	volatile pid_t tid;
	struct sockaddr_in peer;
	socklen_t peer_len;
	long long returned_at;
};

static void *run(void *argument)
{
	struct call *call = argument;
	call->tid = (pid_t)syscall(SYS_gettid);
	call->result = call->make(call);
	call->error = errno;
	call->returned_at = now();
	return NULL;
}

static int make_accept(struct call *call)
{
	call->peer_len = sizeof(call->peer);
	return DO(accept, call->fd, (struct sockaddr *)&call->peer, &call->peer_len);
}

static int make_read(struct call *call)
{
	static char buffer[4096];
	return (int)DO(read, call->fd, buffer, sizeof(buffer));
}

static int make_connect(struct call *call)
{
	struct sockaddr_in peer = address(0, 9090);
	return DO(connect, call->fd, (struct sockaddr *)&peer, sizeof(peer));
}

/* The thread's state as the kernel tells it. */
static char state_of(const struct call *call)
{
	char path[64], line[512];
	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", call->tid);
	FILE *file = fopen(path, "r");
	CHECK(file && fgets(line, sizeof(line), file));
	fclose(file);
	char *end = strrchr(line, ')');
	CHECK(end && end[1] == ' ');
	return end[2];
}

/* Starts a call and returns when its thread sleeps. */
static void begin(struct call *call, int (*make)(struct call *), int fd)
{
	*call = (struct call){ .make = make, .fd = fd };
	CHECK(pthread_create(&call->thread, NULL, run, call) == 0);
	while (!call->tid)
		sched_yield();
	while (state_of(call) != 'S')
		sched_yield();
}

static void finish(struct call *call)
{
	CHECK(pthread_join(call->thread, NULL) == 0);
}

static int near(long long at, long long wanted)
{
	long long off = at - wanted;
	return -4 * MS <= off && off <= 4 * MS;
}

static int listener(uint16_t port)
{
	struct sockaddr_in here = address(1, port);
	int one = 1, fd = DO(socket, AF_INET, SOCK_STREAM, IPPROTO_TCP);
	CHECK(fd >= 1000);
	CHECK(DO(setsockopt, fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0);
	CHECK(DO(bind, fd, (struct sockaddr *)&here, sizeof(here)) == 0);
	CHECK(DO(bind, fd, NULL, sizeof(here)) == -1 && errno == EFAULT);
	CHECK(DO(listen, fd, 1) == 0);
	return fd;
}

/* A handshake with a blocking accept; the connection's numbers are 1 for the peer, `*seq` here. RTT 100 ms. */
static int handshake(int listening, uint16_t from, uint16_t port, uint32_t *seq)
{
	struct call call;
	begin(&call, make_accept, listening);
	long long at = now();
	inject(from, port, SYN, 0, 0, 0);
	struct segment syn_ack = sent();
	CHECK(syn_ack.flags == (SYN | ACK) && syn_ack.ack == 1 && syn_ack.at == at);
	CHECK(syn_ack.from == port && syn_ack.to == from);
	CHECK(DO(usleep, 100 * MS) == 0);
	CHECK(state_of(&call) == 'S');
	at = now();
	*seq = syn_ack.seq + 1;
	inject(from, port, ACK, 1, *seq, 0);
	/* The clock stands until the other thread has read it. */
	CHECK(DO(usleep, 1000 * MS) == 0);
	CHECK(now() > at + 1000 * MS);
	finish(&call);
	CHECK(call.result >= 1000 && call.returned_at == at);
	struct sockaddr_in peer = address(0, from);
	CHECK(call.peer_len == sizeof(peer) && memcmp(&call.peer, &peer, sizeof(peer)) == 0);
	return call.result;
}

/* A blocking read ends at the time of the data. */
static void blocking_read(int fd, uint32_t seq)
{
	struct call call;
	begin(&call, make_read, fd);
	CHECK(DO(usleep, 500 * MS) == 0);
	CHECK(state_of(&call) == 'S');
	long long at = now();
	inject(5000, 8080, PSH | ACK, 1, seq, 1000);
	CHECK(DO(usleep, 50 * MS) == 0);
	finish(&call);
	CHECK(call.result == 1000 && call.returned_at == at);
	struct segment ack = sent();
	CHECK(ack.flags == ACK && ack.ack == 1001 && ack.len == 0);
}

/* Data is retransmitted at 300 and 900 ms (RTT 100 ms, RTTVAR 50 ms), and packets keep their times when read late. */
static void retransmission(int fd, uint32_t *seq, int wrong)
{
	long long at = now();
	CHECK(DO(write, fd, zeros, 1000) == 1000);
	CHECK(DO(usleep, 2000 * MS) == 0);
	struct segment data = sent(), first = sent(), second = sent();
	CHECK(data.at == at && data.seq == *seq && data.len == 1000 && data.flags == (PSH | ACK));
	CHECK(near(first.at, at + (wrong ? 250 : 300) * MS) && first.seq == *seq && first.len == 1000);
	CHECK(near(second.at, at + 900 * MS) && second.seq == *seq);
	/* The third, at 2100 ms, is to come: time goes there. */
	struct segment third = sent();
	CHECK(near(third.at, at + 2100 * MS) && now() == third.at + 1);
	*seq += 1000;
	inject(5000, 8080, ACK, 1001, *seq, 0);
}

static void messages(int fd, uint32_t *seq)
{
	char small[64];
	struct iovec parts[2] = { { small, 10 }, { small + 10, 54 } };
	socklen_t len = sizeof(struct sockaddr_in);
	struct sockaddr_in name;
	int one = 1;
	CHECK(DO(recv, fd, small, sizeof(small), MSG_DONTWAIT) == -1 && errno == EAGAIN);
	inject(5000, 8080, PSH | ACK, 1001, *seq, 100);
	CHECK(sent().ack == 1101);
	int waiting = -1;
	CHECK(DO(ioctl, fd, FIONREAD, &waiting) == 0 && waiting == 100);
	CHECK(DO(recv, fd, NULL, 10, 0) == -1 && errno == EFAULT);
	CHECK(DO(readv, fd, parts, 2) == 64);
	CHECK(DO(recvfrom, fd, small, 6, 0, (struct sockaddr *)&name, &len) == 6 && len == 0);
	CHECK(DO(setsockopt, fd, IPPROTO_TCP, TCP_INQ, &one, sizeof(one)) == 0);
	char control[64];
	struct msghdr msg = { .msg_iov = parts, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	CHECK(DO(recvmsg, fd, &msg, 0) == 10);
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	CHECK(cmsg && cmsg->cmsg_level == SOL_TCP && cmsg->cmsg_type == TCP_CM_INQ && cmsg->cmsg_len == CMSG_LEN(4));
	CHECK(*(int *)CMSG_DATA(cmsg) == 20 && CMSG_NXTHDR(&msg, cmsg) == NULL && msg.msg_flags == 0);
	CHECK(DO(recv, fd, small, sizeof(small), MSG_TRUNC) == 20);

	struct msghdr out = { .msg_iov = parts, .msg_iovlen = 2 };
	CHECK(DO(writev, fd, parts, 2) == 64 && sent().len == 64);
	CHECK(DO(send, fd, zeros, 100, MSG_MORE) == 100);
	CHECK(DO(sendto, fd, zeros, 50, 0, NULL, 0) == 50);
	inject(5000, 8080, ACK, 1101, *seq + 64, 0);
	CHECK(sent().len == 150);
	CHECK(DO(sendmsg, fd, &out, 0) == 64);
	inject(5000, 8080, ACK, 1101, *seq + 214, 0);
	CHECK(sent().len == 64);
	*seq += 278;
	inject(5000, 8080, ACK, 1101, *seq, 0);
	CHECK(DO(fcntl, fd, F_GETFL, 0) == O_RDWR);
	CHECK(DO(fcntl, fd, F_SETFL, O_RDWR | O_NONBLOCK) == 0);
	CHECK(DO(read, fd, small, sizeof(small)) == -1 && errno == EAGAIN);
	CHECK(DO(fcntl, fd, F_SETFL, O_RDWR) == 0);
}

static void readiness(int fd, uint32_t seq)
{
	struct pollfd polled[2] = { { .fd = fd, .events = POLLIN | POLLOUT }, { .fd = -1 } };
	CHECK(DO(poll, polled, 2, 0) == 1 && polled[0].revents == POLLOUT && polled[1].revents == 0);
	int ep = DO(epoll_create, 1);
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = 0x123456789abcdef0 }, got[2];
	CHECK(ep >= 1000 && DO(epoll_create, 0) == -1 && errno == EINVAL);
	CHECK(DO(epoll_ctl, ep, EPOLL_CTL_ADD, fd, &event) == 0);
	CHECK(DO(epoll_ctl, ep, EPOLL_CTL_ADD, fd, &event) == -1 && errno == EEXIST);
	/* The script's own thread waits: nobody else could let the time pass. */
	long long at = now();
	CHECK(DO(epoll_wait, ep, got, 2, 250) == 0 && near(now(), at + 250 * MS));
	inject(5000, 8080, PSH | ACK, 1101, seq, 10);
	CHECK(sent().ack == 1111);
	CHECK(DO(epoll_wait, ep, got, 2, 1000) == 1 && got[0].events == EPOLLIN);
	CHECK(got[0].data.u64 == 0x123456789abcdef0);
	CHECK(DO(close, ep) == 0 && DO(close, ep) == -1 && errno == EBADF);
}

/* What the tool asks of libc itself. */
static void around_the_table(int fd, uint32_t *seq)
{
	unsigned char info[512];
	unsigned memory[16];
	socklen_t len = sizeof(info);
	CHECK(getsockopt(fd, SOL_TCP, TCP_INFO, info, &len) == 0 && len >= 280);
	CHECK(info[0] == 1 /* established */ && *(unsigned *)(info + 80) >= 1 /* snd_cwnd */);
	len = sizeof(info);
	CHECK(getsockopt(fd, SOL_TCP, TCP_CC_INFO, info, &len) == 0 && len == 0);
	len = sizeof(memory);
	CHECK(getsockopt(fd, SOL_SOCKET, 55 /* SO_MEMINFO */, memory, &len) == 0 && len == 36);
	/* Other descriptors are libc's. */
	int real = open("/dev/zero", O_RDONLY);
	CHECK(real >= 0 && real < 1000);
	len = sizeof(info);
	CHECK(getsockopt(real, SOL_TCP, TCP_INFO, info, &len) == -1 && errno == ENOTSOCK);
	off_t offset = 5;
	CHECK(sendfile(fd, real, &offset, 500) == 500 && offset == 505);
	CHECK(sent().len == 500);
	*seq += 500;
	inject(5000, 8080, ACK, 1111, *seq, 0);
	CHECK(close(real) == 0 && close(real) == -1 && errno == EBADF);
}

static void pipes(int fd, uint32_t *seq)
{
	int ends[2];
	CHECK(DO(pipe, ends) == 0 && ends[0] >= 1000 && ends[1] >= 1000);
	CHECK(DO(write, ends[1], zeros, 200) == 200);
	CHECK(DO(splice, ends[0], NULL, fd, NULL, 200, 0) == 200);
	CHECK(sent().len == 200);
	*seq += 200;
	inject(5000, 8080, ACK, 1111, *seq, 0);
	loff_t offset = 0;
	CHECK(DO(splice, ends[0], &offset, fd, NULL, 1, 0) == -1 && errno == ESPIPE);
	CHECK(DO(close, ends[0]) == 0 && DO(close, ends[1]) == 0);
}

static void active(void)
{
	struct call call;
	int fd = DO(socket, AF_INET, SOCK_STREAM, 0), error = -1;
	socklen_t len = sizeof(error);
	begin(&call, make_connect, fd);
	struct segment syn = sent();
	CHECK(syn.flags == SYN && syn.to == 9090 && state_of(&call) == 'S');
	CHECK(DO(usleep, 20 * MS) == 0);
	long long at = now();
	inject(9090, syn.from, RST | ACK, 0, syn.seq + 1, 0);
	finish(&call);
	CHECK(call.result == -1 && call.error == ECONNREFUSED && call.returned_at == at);
	CHECK(DO(getsockopt, fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0 && len == 4);
	CHECK(DO(close, fd) == 0);
}

/* The end through libc's close, as the tool does it. */
static void ends(int listening, int fd, uint32_t seq)
{
	char byte[64];
	CHECK(DO(read, fd, byte, sizeof(byte)) == 10);
	CHECK(DO(shutdown, fd, SHUT_WR) == 0);
	struct segment fin = sent();
	CHECK(fin.flags == (FIN | ACK) && fin.seq == seq);
	inject(5000, 8080, FIN | ACK, 1111, seq + 1, 0);
	CHECK(sent().ack == 1112);
	CHECK(close(fd) == 0 && close(fd) == -1 && errno == EBADF);
	CHECK(close(listening) == 0);
	long long at = now();
	CHECK(nothing_sent() == 0 && now() >= at + 300 * 1000 * MS);
}

/* Injected super-segments arrive as trains: the stack sees the size of the segments, and one ACK answers them. */
static void trains(void)
{
	uint32_t seq;
	int listening = listener(8080), fd = handshake(listening, 5000, 8080, &seq), waiting = 0;
	inject(5000, 8080, PSH | ACK, 1, seq, 3500);
	CHECK(sent().ack == 3501);
	CHECK(DO(ioctl, fd, FIONREAD, &waiting) == 0 && waiting == 3500);
	unsigned char info[512];
	socklen_t len = sizeof(info);
	CHECK(DO(getsockopt, fd, SOL_TCP, TCP_INFO, info, &len) == 0);
	struct tcp_info *tcp = (struct tcp_info *)info;
	/* A single packet would have left an estimate of more. */
	CHECK(tcp->tcpi_rcv_mss == 1000);
}

int main(int count, char **arguments)
{
	CHECK(count >= 2);
	const char *mode = count > 2 ? arguments[2] : "";
	void *library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE | RTLD_DEEPBIND);
	if (!library)
		fprintf(stderr, "%s\n", dlerror());
	CHECK(library);
	void (*init)(const char *, struct packetdrill_interface *) = dlsym(library, "packetdrill_interface_init");
	CHECK(init);
	init(count > 3 ? arguments[3] : NULL, &ifc);
	if (!strcmp(mode, "flags"))
		return 0;
	if (!strcmp(mode, "trains")) {
		trains();
		return 0;
	}
	int wrong = !strcmp(mode, "wrong");
	uint32_t seq;
	int listening = listener(8080), fd = handshake(listening, 5000, 8080, &seq);
	blocking_read(fd, seq);
	retransmission(fd, &seq, wrong);
	messages(fd, &seq);
	readiness(fd, seq);
	around_the_table(fd, &seq);
	pipes(fd, &seq);
	active();
	ends(listening, fd, seq);
	DO(free);
	return 0;
}
