/* A disk that fails, is slow, and keeps a record of what really reached it.
 *
 * DISK_SHIM names a file of 4096 bytes that a test maps and changes while the program runs (struct orders). A call that
 * the orders name, on a file that they name, is delayed, or fails with their error without doing anything.
 *
 * DISK_TRACE names a file to which every change of a file below DISK_TRACED is appended, with what was written: from it
 * a test builds what the disk holds if the power goes at that moment. tests/support/disk.py is the other side of both.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { WRITE = 1, SYNC = 2, TRUNCATE = 4, ALLOCATE = 8, OPEN = 16, READ = 32, NAMES = 64 };

struct orders {
    int32_t calls, error, delay_ms, skip, times, hits;
    uint64_t inode;    /* 0: any */
    char match[256];   /* in the path; empty: any */
};

static volatile struct orders *orders;
static int trace = -1;
static const char *traced;
static pthread_mutex_t one_record = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("DISK_SHIM");
    int fd = name ? syscall(SYS_openat, AT_FDCWD, name, O_RDWR | O_CLOEXEC) : -1;
    if (fd >= 0) {
        void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (at != MAP_FAILED) orders = at;
        syscall(SYS_close, fd);
    }
    traced = getenv("DISK_TRACED");
    name = getenv("DISK_TRACE");
    if (name && traced) trace = syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_APPEND | O_CLOEXEC);
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlink, link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
    return length > 0;
}

static uint64_t inode_of(int fd) {
    struct stat state;
    return fstat(fd, &state) ? 0 : state.st_ino;
}

/* Whether this call fails, with errno set. */
static int refused(int call, const char *path, uint64_t inode) {
    if (!orders || !(orders->calls & call)) return 0;
    if (orders->inode && orders->inode != inode) return 0;
    if (orders->match[0] && !strstr(path, (const char *)orders->match)) return 0;
    if (__atomic_fetch_sub(&orders->skip, 1, __ATOMIC_SEQ_CST) > 0) return 0;
    __atomic_store_n(&orders->skip, 0, __ATOMIC_SEQ_CST);
    if (orders->times == 0) return 0;
    if (orders->times > 0) __atomic_fetch_sub(&orders->times, 1, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&orders->hits, 1, __ATOMIC_SEQ_CST);
    for (int left = orders->delay_ms; left > 0 && orders->delay_ms; left -= 10) {
        struct timespec pause = {0, 10 * 1000 * 1000};
        nanosleep(&pause, NULL);
    }
    errno = orders->error;
    return orders->error != 0;
}

static int refused_on(int call, int fd) {
    char path[PATH_MAX];
    if (!orders || !(orders->calls & call) || !path_of(fd, path)) return 0;
    return refused(call, path, inode_of(fd));
}

struct record {
    char what;  /* w(rite) t(runcate) s(ynced) f(ailed sync) o(pened) u(nlinked) r(enamed) */
    char pad[3];
    uint32_t path_length, data_length;
    uint64_t inode, offset;
} __attribute__((packed));

static void note(char what, const char *path, uint64_t inode, uint64_t offset, const void *data, uint32_t length) {
    if (trace < 0 || strncmp(path, traced, strlen(traced))) return;
    struct record record = {what, {0}, strlen(path), length, inode, offset};
    struct iovec parts[3] = {
        {&record, sizeof record}, {(void *)path, record.path_length}, {(void *)data, length}};
    pthread_mutex_lock(&one_record);
    syscall(SYS_writev, trace, parts, 3);
    pthread_mutex_unlock(&one_record);
}

static void note_on(char what, int fd, uint64_t offset, const void *data, uint32_t length) {
    char path[PATH_MAX];
    int kept = errno;
    if (trace >= 0 && path_of(fd, path)) note(what, path, inode_of(fd), offset, data, length);
    errno = kept;
}

static ssize_t write_at(int fd, const void *data, size_t length, off_t offset) {
    if (refused_on(WRITE, fd)) return -1;
    ssize_t done = syscall(SYS_pwrite64, fd, data, length, offset);
    if (done > 0) note_on('w', fd, offset, data, done);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return write_at(fd, data, length, offset); }
ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) { return write_at(fd, data, length, offset); }

ssize_t write(int fd, const void *data, size_t length) {
    if (refused_on(WRITE, fd)) return -1;
    ssize_t done = syscall(SYS_write, fd, data, length);
    if (done > 0 && trace >= 0) {
        off_t end = syscall(SYS_lseek, fd, 0, SEEK_CUR);
        if (end >= done) note_on('w', fd, end - done, data, done);
    }
    return done;
}

static int synced(int fd, long call) {
    int failed = refused_on(SYNC, fd);
    int done = failed ? -1 : syscall(call, fd);
    note_on(done ? 'f' : 's', fd, 0, "", 0);
    return done;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

static int cut(int fd, off_t length) {
    if (refused_on(TRUNCATE, fd)) return -1;
    int done = syscall(SYS_ftruncate, fd, length);
    if (!done) note_on('t', fd, length, "", 0);
    return done;
}

int ftruncate(int fd, off_t length) { return cut(fd, length); }
int ftruncate64(int fd, off_t length) { return cut(fd, length); }

static int allocate(int fd, off_t offset, off_t length) {
    if (refused_on(ALLOCATE, fd)) return errno;
    return syscall(SYS_fallocate, fd, 0, offset, length) ? errno : 0;
}

int posix_fallocate(int fd, off_t offset, off_t length) { return allocate(fd, offset, length); }
int posix_fallocate64(int fd, off_t offset, off_t length) { return allocate(fd, offset, length); }

ssize_t pread64(int fd, void *data, size_t length, off_t offset) {
    if (refused_on(READ, fd)) return -1;
    return syscall(SYS_pread64, fd, data, length, offset);
}

ssize_t pread(int fd, void *data, size_t length, off_t offset) { return pread64(fd, data, length, offset); }

static int opened(int directory, const char *path, int flags, mode_t mode) {
    if ((flags & O_ACCMODE) != O_RDONLY && refused(OPEN, path, 0)) return -1;
    int fd = syscall(SYS_openat, directory, path, flags, mode);
    if (fd >= 0 && flags & (O_CREAT | O_TRUNC)) {
        note_on('o', fd, 0, "", 0);
        if (flags & O_TRUNC) note_on('t', fd, 0, "", 0);
    }
    return fd;
}

#define MODE                                  \
    mode_t mode = 0;                          \
    if (flags & (O_CREAT | O_TMPFILE)) {      \
        va_list more;                         \
        va_start(more, flags);                \
        mode = va_arg(more, mode_t);          \
        va_end(more);                         \
    }

int open(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode); }

int unlink(const char *path) {
    if (refused(NAMES, path, 0)) return -1;
    int done = syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (!done) note('u', path, 0, 0, "", 0);
    return done;
}

int rename(const char *from, const char *to) {
    if (refused(NAMES, to, 0)) return -1;
    int done = syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    if (!done) note('r', from, 0, 0, to, strlen(to));
    return done;
}
