/* The clock that a service's processes see, moved while they run: for tests, by /etc/ld.so.preload.
 *
 * /test-clock/offset holds the seconds to add, as 64 bits in the machine's own order, and is mapped,
 * so that all processes jump at once. Moved are time(), gettimeofday() and CLOCK_REALTIME; what waits
 * until a time of day waits for the moved one. CLOCK_MONOTONIC goes on, as it does on a machine whose
 * clock is set. The times of files remain the kernel's.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t zero, *offset = &zero;

__attribute__((constructor)) static void map(void) {
    int file = open("/test-clock/offset", O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    void *found = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (found != MAP_FAILED) offset = found;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *offset;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec found;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &found);
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (result) *result = found.tv_sec;
    return found.tv_sec;
}

/* A time of day is beyond 2001; what a monotonic clock shows is not. */
static struct timespec until(const struct timespec *when) {
    struct timespec moved = *when;
    if (moved.tv_sec > 1000000000) moved.tv_sec -= *offset;
    return moved;
}

static void *next(const char *name) {
    void *found = dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2"); /* dlsym finds the older one on x86-64 */
    return found ? found : dlsym(RTLD_NEXT, name);
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict when) {
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!real) real = next("pthread_cond_timedwait");
    struct timespec moved = until(when);
    return real(condition, mutex, &moved);
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict when) {
    static int (*real)(sem_t *, const struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "sem_timedwait");
    struct timespec moved = until(when);
    return real(semaphore, &moved);
}
