/* Plays one side of a session as fast as it goes: the yardstick for a replay.
 *
 *     script FILE connect PATH [ROUNDS]      script FILE listen PATH
 *
 * FILE: steps one behind the other, each u32 kind (1 send, 2 receive), u32 descriptors, u32 length, then the octets.
 * A sent descriptor's kind follows in its octets' stead: see the array behind the length, one u64 a descriptor,
 * 1 an eventfd, 2 one end of a socket pair, 3 an eventfd that is written once it is sent, else a memfd of so many
 * octets. The connecting side prints the nanoseconds
 * from its first send to its last receive, a line a round, each round over a connection of its own.
 */
#include "wire.h"

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>

enum { SEND = 1, RECEIVE = 2 };

static uint8_t script[1 << 20];
static size_t script_size;

static uint64_t now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

static int make(uint64_t what, int *other)
{
    int pair[2];
    if (what == 1 || what == 3)
        return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (what == 2) {
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
            die("socketpair");
        *other = pair[0];
        return pair[1];
    }
    int fd = memfd_create("script", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, what))
        die("memfd");
    return fd;
}

static void send_step(int sock, const uint8_t *data, uint32_t length, const uint8_t *kinds, uint32_t count, int *others)
{
    int fds[MAX_FDS], other = -1;
    char control[CMSG_SPACE(sizeof fds)];
    struct iovec part = {(void *)data, length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    for (uint32_t i = 0; i < count; i++) {
        uint64_t kind;
        memcpy(&kind, kinds + 8 * i, 8);
        fds[i] = make(kind, &other);
        if (other >= 0)
            *others = other;
    }
    if (count) {
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(header), fds, count * sizeof(int));
    }
    if (sendmsg(sock, &message, MSG_NOSIGNAL) != (ssize_t)length)
        die("sendmsg");
    for (uint32_t i = 0; i < count; i++) {
        uint64_t kind;
        memcpy(&kind, kinds + 8 * i, 8);
        if (kind == 3 && eventfd_write(fds[i], 1))
            die("eventfd_write");
        close(fds[i]);
    }
}

static void receive_step(int sock, uint32_t length)
{
    static uint8_t buffer[1 << 16];
    char control[CMSG_SPACE(MAX_FDS * sizeof(int))];
    while (length) {
        struct iovec part = {buffer, length < sizeof buffer ? length : sizeof buffer};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
                                 .msg_controllen = sizeof control};
        ssize_t got = recvmsg(sock, &message, MSG_CMSG_CLOEXEC);
        if (got <= 0)
            die("recvmsg");
        for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header))
            for (size_t i = 0; i < (header->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++)
                close(((int *)CMSG_DATA(header))[i]);
        length -= got;
    }
}

static uint64_t play(int sock)
{
    int other = -1;
    uint64_t begun = now();
    for (size_t at = 0; at < script_size;) {
        uint32_t kind = get32(script + at), count = get32(script + at + 4), length = get32(script + at + 8);
        const uint8_t *kinds = script + at + 12, *data = kinds + 8 * count;
        if (kind == SEND)
            send_step(sock, data, length, kinds, count, &other);
        else
            receive_step(sock, length);
        at += 12 + 8 * count + length;
    }
    uint64_t took = now() - begun;
    if (other >= 0)
        close(other);
    return took;
}

int main(int count, char **words)
{
    if (count < 4)
        return 2;
    FILE *file = fopen(words[1], "rb");
    if (!file)
        die(words[1]);
    script_size = fread(script, 1, sizeof script, file);
    fclose(file);
    struct sockaddr_un address = address_of(words[3]);
    if (!strcmp(words[2], "listen")) {
        int listener = socket(AF_UNIX, SOCK_STREAM, 0);
        if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 8))
            die(words[3]);
        for (;;) {
            int sock = accept(listener, NULL, NULL);
            uint8_t rest[64];
            play(sock);
            shutdown(sock, SHUT_WR);
            while (read(sock, rest, sizeof rest) > 0)
                ;
            close(sock);
        }
    }
    for (int round = count > 4 ? atoi(words[4]) : 1; round > 0; round--) {
        int sock = socket(AF_UNIX, SOCK_STREAM, 0);
        uint8_t rest[64];
        if (connect(sock, (struct sockaddr *)&address, sizeof address))
            die(words[3]);
        printf("%llu\n", (unsigned long long)play(sock));
        shutdown(sock, SHUT_WR);
        while (read(sock, rest, sizeof rest) > 0)
            ;
        close(sock);
    }
    return 0;
}
