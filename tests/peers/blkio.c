/* A front-end of libblkio's: writes blocks of 4 KiB and reads each back.
 *
 *   blkio SOCKET BLOCKS QUEUES     prints "OK" and the number of blocks; exit status 1 after any error
 */
#include <blkio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 4096, REGION = 1 << 20, READ_AT = 1 << 16 };

static void check(int result, const char *what)
{
    if (result >= 0)
        return;
    fprintf(stderr, "%s: %s (%s)\n", what, strerror(-result), blkio_get_error_msg());
    exit(1);
}
#define CHECK(call) check(call, #call)

/* Wait for the one request that is on its way. */
static void finish(struct blkioq *queue, const char *what, int block)
{
    struct blkio_completion done;

    if (blkioq_do_io(queue, &done, 1, 1, NULL) == 1 && done.ret == 0)
        return;
    fprintf(stderr, "%s of block %d failed\n", what, block);
    exit(1);
}

int main(int argc, char **argv)
{
    struct blkio *disk;
    struct blkio_mem_region memory;

    if (argc != 4) {
        fputs("blkio SOCKET BLOCKS QUEUES\n", stderr);
        return 2;
    }
    int blocks = atoi(argv[2]);
    CHECK(blkio_create("virtio-blk-vhost-user", &disk));
    CHECK(blkio_set_str(disk, "path", argv[1]));
    CHECK(blkio_connect(disk));
    CHECK(blkio_set_int(disk, "num-queues", atoi(argv[3])));
    CHECK(blkio_start(disk));
    CHECK(blkio_alloc_mem_region(disk, &memory, REGION));
    CHECK(blkio_map_mem_region(disk, &memory));
    struct blkioq *queue = blkio_get_queue(disk, 0);
    char *written = memory.addr, *read = written + READ_AT;
    for (int block = 0; block < blocks; block++) {
        memset(written, block + 1, BLOCK);
        memset(read, 0, BLOCK);
        blkioq_write(queue, (uint64_t)block * BLOCK, written, BLOCK, NULL, 0);
        finish(queue, "write", block);
        blkioq_read(queue, (uint64_t)block * BLOCK, read, BLOCK, NULL, 0);
        finish(queue, "read", block);
        if (memcmp(written, read, BLOCK)) {
            fprintf(stderr, "block %d came back changed\n", block);
            return 1;
        }
    }
    blkioq_flush(queue, NULL, 0);
    finish(queue, "flush", blocks);
    blkio_unmap_mem_region(disk, &memory);
    blkio_free_mem_region(disk, &memory);
    blkio_destroy(&disk);
    printf("OK %d blocks\n", blocks);
    return 0;
}
