/* A kick and its answer: one thread writes an eventfd and waits for another, the other thread answers.
 *
 *     kicks KICK ANSWERED CALL COUNT
 *
 * The first thread writes 1 to KICK and reads CALL; the second reads ANSWERED (KICK itself, or where somebody passes
 * kicks on) and writes 1 to CALL. Prints p50 and p99 of the round trip in ns, and how many kicks came together: each
 * read must give exactly 1, or somebody else has taken or made one.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int answered, call;
static long count, odd;

static void *answer(void *unused)
{
    (void)unused;
    for (long i = 0; i < count; i++) {
        uint64_t value;
        if (read(answered, &value, 8) != 8)
            exit(3);
        odd += value != 1;
        value = 1;
        if (write(call, &value, 8) != 8)
            exit(3);
    }
    return NULL;
}

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int order(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    int kick = atoi(argv[1]);
    answered = atoi(argv[2]);
    call = atoi(argv[3]);
    count = atol(argv[4]);
    int64_t *took = calloc(count, sizeof *took);
    pthread_t other;
    if (!took || pthread_create(&other, NULL, answer, NULL))
        return 3;
    for (long i = 0; i < count; i++) {
        uint64_t value = 1;
        int64_t begun = now();
        if (write(kick, &value, 8) != 8 || read(call, &value, 8) != 8)
            return 3;
        took[i] = now() - begun;
        odd += value != 1;
    }
    pthread_join(other, NULL);
    qsort(took, count, sizeof *took, order);
    printf("%lld %lld %ld\n", (long long)took[count / 2], (long long)took[count * 99 / 100], odd);
    return 0;
}
