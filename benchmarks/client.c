/* The front-end of the benchmark: makes one load and measures it.
 *
 *     client LOAD CONNECT COUNT [RELAY_PID]
 *
 *     ping     GET_FEATURES, 12 bytes, and its answer of 20            a round trip each
 *     s20      SET_FEATURES, 20 bytes                                  one way
 *     skick1   SET_VRING_KICK and 1 descriptor                         one way
 *     smem8    SET_MEM_TABLE of 8 regions and 8 descriptors            one way
 *     sburst   NUM, BASE, ADDR, KICK and 1, CALL and 1                 one way; COUNT bursts of five messages
 *     sv4k     vfio-user REGION_WRITE of 4 KiB, no reply               one way
 *     sv1m     the same of 1 MiB                                       one way
 *     v1m      the same of 1 MiB, with its reply                       a round trip each
 *
 * A one-way load ends with a request that is answered, so that its time is that of all being read. Some of the load is
 * sent before the clock starts. Prints sent and received (messages of the whole run), units (loads within the clock),
 * messages (both ways within the clock), elapsed_ns, cpu_ns (that the process RELAY_PID used within the clock), and
 * for round trips p50_ns and p99_ns.
 */
#include "wire.h"

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>

enum { REGIONS = 8 };

static int peer, kick, memory[REGIONS];
static bool vfio;
static unsigned long sent, received;
static uint8_t message[LARGEST];
static uint16_t message_id;

static uint64_t now(clockid_t clock)
{
    struct timespec time;
    if (clock_gettime(clock, &time) < 0)
        die("clock_gettime");
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void put(size_t size, const int *fds, int count)
{
    for (size_t done = 0; done < size;) {
        ssize_t went = transmit(peer, message + done, size - done, fds, done ? 0 : count, 0);
        if (went < 0)
            die("send");
        done += (size_t)went;
    }
    sent++;
}

static void vhost(uint32_t request, uint32_t payload, const int *fds, int count)
{
    put32(message, request);
    put32(message + 4, VHOST_VERSION);
    put32(message + 8, payload);
    put(VHOST_HEADER + payload, fds, count);
}

static void vfio_put(uint32_t command, uint32_t payload, uint32_t flags)
{
    put32(message, command << 16 | message_id++);
    put32(message + 4, VFIO_HEADER + payload);
    put32(message + 8, flags);
    put32(message + 12, 0);
    put(VFIO_HEADER + payload, NULL, 0);
}

static void write_region(uint32_t count, uint32_t flags)
{
    memset(message + VFIO_HEADER, 0, 16);       /* offset, region */
    put32(message + VFIO_HEADER + 12, count);
    vfio_put(VFIO_REGION_WRITE, 16 + count, flags);
}

static void take(size_t size)
{
    uint8_t reply[256];
    for (size_t there = 0; there < size;) {
        ssize_t got = recv(peer, reply + there, size - there, 0);
        if (got <= 0)
            die("receive");
        there += (size_t)got;
    }
    received++;
}

static void ping(void)
{
    vhost(GET_FEATURES, 0, NULL, 0);
    take(VHOST_HEADER + 8);
}

static void barrier(void)
{
    if (vfio) {
        vfio_put(VFIO_RESET, 0, 0);
        take(VFIO_HEADER);
    } else {
        ping();
    }
}

static void s20(void)
{
    memset(message + VHOST_HEADER, 0, 8);
    vhost(SET_FEATURES, 8, NULL, 0);
}

static void skick1(void)
{
    memset(message + VHOST_HEADER, 0, 8);
    vhost(SET_VRING_KICK, 8, &kick, 1);
}

static void smem8(void)
{
    memset(message + VHOST_HEADER, 0, 8 + REGIONS * 32);
    put32(message + VHOST_HEADER, REGIONS);
    for (uint32_t i = 0; i < REGIONS; i++) {    /* guest address, size, user address, offset: 64 bits each */
        uint8_t *region = message + VHOST_HEADER + 8 + i * 32;
        put32(region, i << 20);
        put32(region + 8, 1 << 20);
        put32(region + 16, i << 20);
        put32(region + 20, 0x7f00);
    }
    vhost(SET_MEM_TABLE, 8 + REGIONS * 32, memory, REGIONS);
}

static void sburst(void)
{
    memset(message + VHOST_HEADER, 0, 40);
    vhost(SET_VRING_NUM, 8, NULL, 0);
    vhost(SET_VRING_BASE, 8, NULL, 0);
    vhost(SET_VRING_ADDR, 40, NULL, 0);
    vhost(SET_VRING_KICK, 8, &kick, 1);
    vhost(SET_VRING_CALL, 8, &kick, 1);
}

static void sv4k(void) { write_region(4 << 10, VFIO_NO_REPLY); }

static void sv1m(void) { write_region(1 << 20, VFIO_NO_REPLY); }

static void v1m(void)
{
    write_region(1 << 20, 0);
    take(VFIO_HEADER + 16);
}

static const struct load {
    const char *name;
    void (*once)(void);
    bool answered, vfio;
} loads[] = {
    {"ping", ping, true, false}, {"s20", s20, false, false}, {"skick1", skick1, false, false},
    {"smem8", smem8, false, false}, {"sburst", sburst, false, false}, {"sv4k", sv4k, false, true},
    {"sv1m", sv1m, false, true}, {"v1m", v1m, true, true},
};

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    const struct load *load = NULL;
    for (size_t i = 0; argc >= 4 && i < sizeof loads / sizeof *loads; i++)
        if (strcmp(argv[1], loads[i].name) == 0)
            load = &loads[i];
    long count = argc >= 4 ? atol(argv[3]) : 0;
    if (!load || count < 1) {
        fprintf(stderr, "usage: client ping|s20|skick1|smem8|sburst|sv4k|sv1m|v1m CONNECT COUNT [RELAY_PID]\n");
        return 2;
    }
    vfio = load->vfio;
    clockid_t relay = 0;
    if (argc > 4 && (errno = clock_getcpuclockid(atoi(argv[4]), &relay)) != 0)
        die("clock_getcpuclockid");
    raise_limit();
    kick = eventfd(0, EFD_CLOEXEC);
    for (int i = 0; i < REGIONS; i++) {
        memory[i] = memfd_create("guest-memory", MFD_CLOEXEC);
        if (memory[i] < 0 || ftruncate(memory[i], 1 << 20) < 0)
            die("memfd");
    }
    uint32_t *times = calloc((size_t)count, sizeof *times);
    if (kick < 0 || !times)
        die("descriptors and memory");
    memset(times, 1, (size_t)count * sizeof *times);        /* no page faults while the clock runs */
    peer = connect_to(argv[2]);

    if (vfio) {
        static const char text[] = "{\"capabilities\":{\"max_data_xfer_size\":1048576}}";
        put32(message + VFIO_HEADER, 1 << 16);              /* major 0, minor 1 */
        memcpy(message + VFIO_HEADER + 4, text, sizeof text);
        vfio_put(VFIO_VERSION, 4 + sizeof text, 0);
        take(VFIO_HEADER + 4 + sizeof text);
    }
    for (long i = 0; i < 200; i++)
        barrier();
    for (long i = 0; i < count / 20; i++)
        load->once();
    barrier();

    unsigned long before = sent + received;
    uint64_t used = relay ? now(relay) : 0, start = now(CLOCK_MONOTONIC), last = start;
    for (long i = 0; i < count; i++) {
        load->once();
        if (load->answered) {
            uint64_t time = now(CLOCK_MONOTONIC);
            times[i] = time - last > UINT32_MAX ? UINT32_MAX : (uint32_t)(time - last);
            last = time;
        }
    }
    if (!load->answered)
        barrier();
    uint64_t elapsed = now(CLOCK_MONOTONIC) - start;
    used = relay ? now(relay) - used : 0;
    printf("sent=%lu received=%lu units=%ld messages=%lu elapsed_ns=%llu cpu_ns=%llu", sent, received, count,
           sent + received - before, (unsigned long long)elapsed, (unsigned long long)used);
    if (load->answered) {
        qsort(times, (size_t)count, sizeof *times, compare);
        printf(" p50_ns=%u p99_ns=%u", times[count / 2], times[count * 99 / 100]);
    }
    printf("\n");
    return 0;
}
