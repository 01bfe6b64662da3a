/* A death in the middle of a write: once armed, the next write to a file whose name ends so is cut in half, or the next
 * sync of it is not done, and the process is gone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { NOTHING, TORN, SYNC };
static volatile int armed = NOTHING;
static char ending[64];

void tallyman_test_die(int how, const char *file_ends_with) {
    strncpy(ending, file_ends_with, sizeof ending - 1);
    armed = how;
}

static int is_meant(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    size_t wanted = strlen(ending);
    return (size_t)length >= wanted && strcmp(path + length - wanted, ending) == 0;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

#define REAL(name, type) type real = (type)dlsym(RTLD_NEXT, name)
typedef ssize_t (*pwrite_t)(int, const void *, size_t, off64_t);
typedef int (*sync_t)(int);

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REAL("pwrite64", pwrite_t);
    if (armed == TORN && is_meant(fd)) {
        if (real(fd, data, size / 2, at) < 0) perror("half of a write");
        die();
    }
    return real(fd, data, size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    return pwrite64(fd, data, size, at);
}

int fdatasync(int fd) {
    REAL("fdatasync", sync_t);
    if (armed == SYNC && is_meant(fd)) die();
    return real(fd);
}

int fsync(int fd) {
    REAL("fsync", sync_t);
    if (armed == SYNC && is_meant(fd)) die();
    return real(fd);
}
