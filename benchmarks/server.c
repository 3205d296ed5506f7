/* The back-end of the benchmark: reads each header first, then exactly the rest, as real ones do, and checks every
 * message's descriptors.
 *
 *     server vhost-user|vfio-user LISTEN
 *
 * Takes one connection. At its end prints how many messages came, how many had not the number of descriptors that
 * their kind takes (or had them only with the payload), and how many of up to 36,544 bytes came in pieces, which would
 * break a receiver with one call for the header and one for the rest.
 */
#include "wire.h"

enum { WHOLE = 36544 };

static uint8_t message[LARGEST];
static int fds[MAX_FDS], fd_count;
static unsigned long messages, misplaced, pieces;

/* Read exactly that much; false at the end of the stream. */
static bool read_exactly(int from, uint8_t *to, size_t size, bool *cut)
{
    size_t there = 0;
    while (there < size) {
        ssize_t got = receive(from, to + there, size - there, fds, &fd_count, 0);
        if (got < 0)
            die("receive");
        if (got == 0) {
            if (there > 0)
                misplaced++;                    /* a stream that ends inside a message has lost something */
            return false;
        }
        there += (size_t)got;
        if (there < size)
            *cut = true;
    }
    return true;
}

static void answer(int to, size_t size)
{
    for (size_t sent = 0; sent < size;) {
        ssize_t went = transmit(to, message + sent, size - sent, NULL, 0, 0);
        if (went < 0)
            die("send");
        sent += (size_t)went;
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: server vhost-user|vfio-user LISTEN\n");
        return 2;
    }
    bool vfio = strcmp(argv[1], "vfio-user") == 0;
    size_t header = vfio ? VFIO_HEADER : VHOST_HEADER;
    raise_limit();
    int peer = accept_one(argv[2]);
    for (;;) {
        bool cut = false;
        if (!read_exactly(peer, message, header, &cut))
            break;
        int with_header = fd_count;
        size_t size = vfio ? get32(message + 4) - header : get32(message + 8);
        if (size > sizeof message - header) {
            fprintf(stderr, "message %lu has a payload of %zu bytes\n", messages, size);
            return 1;
        }
        if (!read_exactly(peer, message + header, size, &cut))
            size = 0;
        messages++;
        pieces += cut && header + size <= WHOLE;
        int expected = 0;
        if (!vfio) {
            uint32_t request = get32(message);
            if (request == SET_MEM_TABLE)
                expected = (int)get32(message + header);
            else if (request == SET_VRING_KICK || request == SET_VRING_CALL)
                expected = 1;
        }
        misplaced += with_header != expected || fd_count != expected;
        while (fd_count > 0)
            close(fds[--fd_count]);

        if (!vfio && get32(message) == GET_FEATURES) {
            put32(message + 4, VHOST_VERSION | VHOST_REPLY);
            put32(message + 8, 8);
            put32(message + 12, 0x70000000);
            put32(message + 16, 0x1);
            answer(peer, VHOST_HEADER + 8);
        } else if (vfio && !(get32(message + 8) & VFIO_NO_REPLY)) {
            uint32_t command = get32(message) >> 16;
            size_t length = command == VFIO_VERSION ? header + size : command == VFIO_REGION_WRITE ? header + 16 : header;
            put32(message + 4, (uint32_t)length);
            put32(message + 8, VFIO_REPLY);
            answer(peer, length);
        }
    }
    printf("messages=%lu misplaced=%lu pieces=%lu\n", messages, misplaced, pieces);
    return 0;
}
