/* What the three programs of the benchmark share: the two headers, descriptors beside bytes, and giving up. */
#ifndef WIRE_H
#define WIRE_H

#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MAX_FDS = 253 };                         /* the kernel takes no more in one send */

/* vhost-user: u32 request, u32 flags, u32 size of the payload */
enum { VHOST_HEADER = 12, GET_FEATURES = 1, SET_FEATURES = 2, SET_MEM_TABLE = 5, SET_VRING_NUM = 8, SET_VRING_ADDR = 9,
       SET_VRING_BASE = 10, SET_VRING_KICK = 12, SET_VRING_CALL = 13, VHOST_VERSION = 1, VHOST_REPLY = 4 };

/* vfio-user: u16 message id, u16 command, u32 size of the whole message, u32 flags, u32 error */
enum { VFIO_HEADER = 16, VFIO_VERSION = 1, VFIO_REGION_WRITE = 10, VFIO_RESET = 13, VFIO_REPLY = 1, VFIO_NO_REPLY = 16 };

enum { LARGEST = (1 << 20) + 64 };              /* a region write of 1 MiB */

static inline void die(const char *what)
{
    perror(what);
    exit(1);
}

static inline uint32_t get32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static inline void put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof value);
}

static inline struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        die(path);
    }
    strcpy(address.sun_path, path);
    return address;
}

/* An ordinary user has about RLIMIT_NOFILE descriptors in flight. */
static inline void raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Connect as soon as somebody listens there, for ten seconds; a probe would count as a session. */
static inline int connect_to(const char *path)
{
    struct sockaddr_un address = address_of(path);
    for (int tries = 0; tries < 10000; tries++) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            die("socket");
        if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
            return fd;
        if (errno != ENOENT && errno != ECONNREFUSED)
            die(path);
        close(fd);
        usleep(1000);
    }
    die(path);
    return -1;
}

/* Listen, and accept one connection. */
static inline int accept_one(const char *path)
{
    struct sockaddr_un address = address_of(path);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 1) < 0)
        die(path);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        die("accept");
    close(listener);
    return fd;
}

/* One recvmsg. The descriptors that came are appended to fds, which has room for MAX_FDS. */
static inline ssize_t receive(int from, uint8_t *to, size_t size, int *fds, int *count, int flags)
{
    union { struct cmsghdr align; char room[CMSG_SPACE(MAX_FDS * sizeof(int))]; } control;
    struct iovec part = {to, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof control};
    ssize_t got = recvmsg(from, &message, flags | MSG_CMSG_CLOEXEC);
    if (got < 0)
        return got;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        int more = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        if ((message.msg_flags & MSG_CTRUNC) || *count + more > MAX_FDS) {
            errno = EMSGSIZE;
            die("descriptors");
        }
        memcpy(fds + *count, CMSG_DATA(c), (size_t)more * sizeof(int));
        *count += more;
    }
    return got;
}

/* One sendmsg, with descriptors. */
static inline ssize_t transmit(int to, const uint8_t *from, size_t size, const int *fds, int count, int flags)
{
    union { struct cmsghdr align; char room[CMSG_SPACE(MAX_FDS * sizeof(int))]; } control;
    struct iovec part = {(uint8_t *)from, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > 0) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
        control.align = (struct cmsghdr){.cmsg_len = CMSG_LEN((size_t)count * sizeof(int)), .cmsg_level = SOL_SOCKET,
                                         .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.align), fds, (size_t)count * sizeof(int));
    }
    for (;;) {
        ssize_t sent = sendmsg(to, &message, flags | MSG_NOSIGNAL);
        if (sent >= 0 || errno != ETOOMANYREFS)
            return sent;
        usleep(100);                            /* too many descriptors in flight: the receiver is behind */
    }
}

#endif
