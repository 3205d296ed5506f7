/* The vsock end inside the test guest.
 *
 *   vs connect CID PORT   send 64 KiB and expect them back: exit status 0 if they came as they were
 *   vs listen PORT        take one connection and send back what it sends, until it ends
 */
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* PIECE: vhost-device-vsock 0.3.0 fails on a packet of 64 KiB from Linux 7.2 ("DescriptorLengthTooSmall") */
enum { SIZE = 65536, PIECE = 16384 };
static unsigned char sent[SIZE], received[SIZE];

static int fail(const char *what) { perror(what); return 1; }

static int write_all(int fd, const unsigned char *data, size_t size)
{
    for (size_t done = 0; done < size; ) {
        ssize_t n = write(fd, data + done, size - done < PIECE ? size - done : PIECE);
        if (n <= 0)
            return -1;
        done += n;
    }
    return 0;
}

static int connect_to(unsigned cid, unsigned port)
{
    struct sockaddr_vm to = { .svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port };
    int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
    size_t got = 0;

    if (fd < 0 || connect(fd, (void *)&to, sizeof to))
        return fail("connect");
    for (int i = 0; i < SIZE; i++)
        sent[i] = i * 7 + i / 256;
    /* a second process writes: with one, both ends could wait for the other to read */
    if (fork() == 0)
        _exit(write_all(fd, sent, SIZE) != 0);
    while (got < SIZE) {
        ssize_t n = read(fd, received + got, SIZE - got);
        if (n <= 0)
            break;
        got += n;
    }
    if (got != SIZE || memcmp(sent, received, SIZE)) {
        printf("vsock: %zu bytes came back, or others\n", got);
        return 1;
    }
    return 0;
}

static int serve(unsigned port)
{
    struct sockaddr_vm at = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port };
    int fd = socket(AF_VSOCK, SOCK_STREAM, 0), peer;
    ssize_t n;

    if (fd < 0 || bind(fd, (void *)&at, sizeof at) || listen(fd, 1))
        return fail("listen");
    puts("MARK-READY");
    fflush(stdout);
    peer = accept(fd, NULL, NULL);
    if (peer < 0)
        return fail("accept");
    while ((n = read(peer, received, SIZE)) > 0)
        if (write_all(peer, received, n))
            return fail("write");
    return n < 0 ? fail("read") : 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "connect"))
        return connect_to(atoi(argv[2]), atoi(argv[3]));
    if (argc == 3 && !strcmp(argv[1], "listen"))
        return serve(atoi(argv[2]));
    fputs("vs connect CID PORT | vs listen PORT\n", stderr);
    return 2;
}
