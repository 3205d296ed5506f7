/* The reference relay: what the least that keeps every descriptor on its message costs, in C, without a record.
 *
 *     relay [--chunks] vhost-user|vfio-user LISTEN CONNECT
 *
 * One session, one thread, poll. It reads big and walks the headers. The kernel lets a read run on from messages
 * without descriptors into the first one that has some, and stops there: the descriptors in hand belong to the message
 * that holds the read's last byte. A message that is not all there is held up to 128 KiB; a longer one goes through as
 * it comes, its descriptors with its first part. What is sent is whole messages, up to 36,544 bytes of them together
 * (one kernel buffer), and a message with descriptors goes alone, so that the next reader has no doubt.
 *
 * --chunks passes every read on as it came. That moves descriptors to earlier messages: the ladder runs it to show that
 * its loads make the kernel merge messages, and that its server notices.
 *
 * Left out, as the peers of the benchmark need neither: a timer for a half message that stands still, and resets.
 */
#include "wire.h"

#include <poll.h>

enum { READ = 256 << 10, HOLD = 128 << 10, PORTION = 36544, MOST_PORTIONS = 64 };

struct batch {
    int count;
    int fds[MAX_FDS];
};

struct portion {
    size_t end;
    struct batch *batch;                        /* goes with its first byte */
};

struct direction {
    int from, to;
    bool ending, ended;                         /* end of file came; and was passed on */
    bool raw;                                   /* a size that cannot be: from there on bytes as they come */
    size_t filled;                              /* bytes in the buffer */
    size_t through;                             /* bytes of a long message that have not come yet */
    size_t sent, next, portions;                /* bytes and portions that went; all portions */
    struct portion portion[MOST_PORTIONS];      /* what of the buffer may go; what lies behind the last is held */
    struct batch held, fresh;                   /* of the message that begins the buffer; of the last read */
    uint8_t buffer[HOLD + READ];
};

static bool chunks, vfio;
static struct direction directions[2];

/* How many bytes at `at` go on together: a message, or what is there of a long one; 0: hold it. Once for each place. */
static size_t unit(struct direction *d, size_t at)
{
    const uint8_t *header = d->buffer + at;
    size_t there = d->filled - at, length;
    if (chunks || d->raw)
        return there;
    if (d->through > 0) {
        length = d->through < there ? d->through : there;
        d->through -= length;
        return length;
    }
    if (there < (vfio ? VFIO_HEADER : VHOST_HEADER))
        return 0;
    length = vfio ? get32(header + 4) : VHOST_HEADER + (size_t)get32(header + 8);
    if (length < (vfio ? VFIO_HEADER : VHOST_HEADER)) {
        d->raw = true;
        return there;
    }
    if (length <= there)
        return length;
    if (length <= HOLD)
        return 0;
    d->through = length - there;
    return there;
}

static void add_portion(struct direction *d, size_t end, struct batch *batch)
{
    if (d->portions == MOST_PORTIONS) {         /* two neighbours are more than PORTION together: 22 fill the buffer */
        errno = ENOBUFS;
        die("portions");
    }
    d->portion[d->portions++] = (struct portion){end, batch};
}

/* Cut what is in the buffer into portions, and give the fresh descriptors to the message that holds the last byte. */
static void cut(struct direction *d)
{
    size_t at = 0, last = 0, start = 0, length;
    while (at < d->filled) {
        last = at;
        if ((length = unit(d, at)) == 0)
            break;
        if (d->portions > 0 && at + length - start <= PORTION && !d->portion[d->portions - 1].batch) {
            d->portion[d->portions - 1].end = at + length;
        } else {
            start = at;
            add_portion(d, at + length, at == 0 && d->held.count > 0 ? &d->held : NULL);
        }
        at += length;
    }
    if (d->fresh.count == 0)
        return;
    if (last == 0) {                            /* one message only, which may have been held with descriptors */
        if (d->held.count + d->fresh.count > MAX_FDS) {
            errno = EMSGSIZE;
            die("descriptors of one message");
        }
        memcpy(d->held.fds + d->held.count, d->fresh.fds, (size_t)d->fresh.count * sizeof(int));
        d->held.count += d->fresh.count;
        d->fresh.count = 0;
        if (d->portions > 0)
            d->portion[0].batch = &d->held;
    } else if (at == d->filled) {               /* else they stay with the message that is held */
        if (start < last) {
            d->portion[d->portions - 1].end = last;
            add_portion(d, at, &d->fresh);
        } else {
            d->portion[d->portions - 1].batch = &d->fresh;
        }
    }
}

/* Send what may go and move what is held to the front; with an end of file, pass that on. */
static void flush(struct direction *d)
{
    while (d->next < d->portions) {
        struct portion *p = &d->portion[d->next];
        int count = p->batch ? p->batch->count : 0;
        ssize_t went = transmit(d->to, d->buffer + d->sent, p->end - d->sent, count ? p->batch->fds : NULL, count,
                                MSG_DONTWAIT);
        if (went < 0 && errno == EAGAIN)
            return;
        if (went < 0)
            die("send");
        while (count > 0)                       /* a short send has taken all of them as well */
            close(p->batch->fds[--count]);
        if (p->batch)
            p->batch->count = 0;
        d->sent += (size_t)went;
        if (d->sent == p->end)
            d->next++;
    }
    if (d->sent > 0) {
        d->filled -= d->sent;
        memmove(d->buffer, d->buffer + d->sent, d->filled);
        if (d->fresh.count > 0) {
            d->held = d->fresh;
            d->fresh.count = 0;
        }
    }
    d->sent = d->next = d->portions = 0;
    if (d->ending && !d->ended) {
        shutdown(d->to, SHUT_WR);
        d->ended = true;
    }
}

static void read_some(struct direction *d)
{
    ssize_t got = receive(d->from, d->buffer + d->filled, READ, d->fresh.fds, &d->fresh.count, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got < 0)
        die("receive");
    d->filled += (size_t)got;
    if (got > 0) {
        cut(d);
    } else {
        d->ending = true;
        if (d->filled > 0)
            add_portion(d, d->filled, &d->held);
    }
    flush(d);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--chunks") == 0) {
        chunks = true;
        argc--, argv++;
    }
    if (argc != 4) {
        fprintf(stderr, "usage: relay [--chunks] vhost-user|vfio-user LISTEN CONNECT\n");
        return 2;
    }
    vfio = strcmp(argv[1], "vfio-user") == 0;
    raise_limit();
    int front = accept_one(argv[2]), back = connect_to(argv[3]);
    directions[0].from = directions[1].to = front;
    directions[0].to = directions[1].from = back;
    while (!directions[0].ended || !directions[1].ended) {
        struct pollfd polled[2] = {{.fd = front}, {.fd = back}};
        for (int i = 0; i < 2; i++) {
            struct direction *d = &directions[i];
            if (d->portions > 0)
                polled[1 - i].events |= POLLOUT;
            else if (!d->ending)
                polled[i].events |= POLLIN;
        }
        for (int i = 0; i < 2; i++)
            if (polled[i].events == 0)
                polled[i].fd = -1;              /* else a closed peer would wake us for ever */
        if (poll(polled, 2, -1) < 0 && errno != EINTR)
            die("poll");
        for (int i = 0; i < 2; i++) {
            struct direction *d = &directions[i];
            if (d->portions > 0) {
                if (polled[1 - i].revents)
                    flush(d);
            } else if (!d->ending && polled[i].revents) {
                read_some(d);
            }
        }
    }
    return 0;
}
