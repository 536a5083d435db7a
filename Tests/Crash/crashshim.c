// Loaded before the C library (LD_PRELOAD): counts every call of a process that changes a file system below one folder, and
// ends, cuts, stops or fails the process at one of them.
//
//     cc -shared -fPIC -O2 -o crashshim.so crashshim.c -ldl
//
// CRASH_UNDER  the folder: absolute, links resolved
// CRASH_LOG    a file that gets a line a call: number, operation, result, path, second path (of rename and link), by tabs
// CRASH_AT     the number of the call at which something happens; 0 (the default): nothing does
// CRASH_WHEN   before, middle (half of the bytes are written) or after that call; what cannot be halved is not made at all
// CRASH_DO     kill       SIGKILL
//              cut=FLAGS  the power goes: the file system takes no more writes (0 all is synced before, 1 its log is, 2 nothing
//                         is), then SIGKILL. Root.
//              stop       SIGSTOP; the call is made when the process is continued
//              fail=ERRNO the call is not made and fails;  fail-on=ERRNO  so does every later one
//              short      half of the bytes are written, and the call says so
//
// The calls are made one after the other, whichever thread makes them: what is on disk at the k-th is what the log says. Not
// counted: stores through a mapping, io_uring, calls that the C library makes for itself. The test holds the log against strace.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define SHUT_DOWN _IOR('X', 125, uint32_t) // of ext4, XFS and others
enum { FIRST_OWN_DESCRIPTOR = 100, MOST_VECTORS = 1024 };

static long (*kernel)(long, ...);
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static char under[PATH_MAX];
static size_t under_length;
static int log_file = -1, folder = -1;
static long count, at;
static enum { BEFORE, MIDDLE, AFTER } when;
static enum { KILL, CUT, STOP, FAIL, FAIL_ON, SHORT } what;
static long value;

static void find_kernel(void) {
    if (!kernel) kernel = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
}

static int keep(int descriptor) {
    int kept = fcntl(descriptor, F_DUPFD_CLOEXEC, FIRST_OWN_DESCRIPTOR);
    if (kept < 0) return descriptor;
    kernel(SYS_close, descriptor);
    return kept;
}

static void refuse(const char *text) {
    dprintf(2, "crashshim: %s\n", text);
    _exit(125);
}

static int chosen(const char *name, const char *const *words) {
    const char *text = getenv(name);
    if (!text) return 0;
    for (int index = 0; words[index]; index++) {
        size_t length = strlen(words[index]);
        if (!strncmp(text, words[index], length) && (text[length] == 0 || text[length] == '=')) {
            if (text[length] == '=') value = atol(text + length + 1);
            return index;
        }
    }
    refuse(name);
    return 0;
}

__attribute__((constructor)) static void begin(void) {
    find_kernel();
    const char *path = getenv("CRASH_UNDER"), *log = getenv("CRASH_LOG"), *number = getenv("CRASH_AT");
    if (!path) return;
    at = number ? atol(number) : 0;
    when = chosen("CRASH_WHEN", (const char *const[]){"before", "middle", "after", NULL});
    what = chosen("CRASH_DO", (const char *const[]){"kill", "cut", "stop", "fail", "fail-on", "short", NULL});
    if (log) {
        log_file = kernel(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (log_file < 0) refuse("CRASH_LOG cannot be opened");
        log_file = keep(log_file);
    }
    if (what == CUT) {
        folder = kernel(SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
        if (folder < 0) refuse("CRASH_UNDER cannot be opened");
        folder = keep(folder);
    }
    unsetenv("LD_PRELOAD"); // Programs that this one starts are not counted.
    snprintf(under, sizeof under, "%s", path);
    under_length = strlen(under);
}

// What each system call changes, and where its arguments say so.
typedef enum { OF_DESCRIPTOR, OF_NAME, OF_PATH, OF_TWO_PATHS } place;
typedef struct {
    long number;
    const char *operation;
    place place;
    int argument; // of the descriptor; of the path alone; of the folder, in front of a path; of the first of two such pairs
    int length;   // the argument with the number of bytes, or of vectors; 0 where there is none
    int vectors;  // the argument with vectors; 0 where there is none
} rule;

static const rule rules[] = {
    {SYS_write, "write", OF_DESCRIPTOR, 0, 2, 0},
    {SYS_pwrite64, "write", OF_DESCRIPTOR, 0, 2, 0},
    {SYS_writev, "write", OF_DESCRIPTOR, 0, 2, 1},
    {SYS_pwritev, "write", OF_DESCRIPTOR, 0, 2, 1},
    {SYS_pwritev2, "write", OF_DESCRIPTOR, 0, 2, 1},
    {SYS_sendfile, "write", OF_DESCRIPTOR, 0, 3, 0},
    {SYS_splice, "write", OF_DESCRIPTOR, 2, 4, 0},
    {SYS_copy_file_range, "copy", OF_DESCRIPTOR, 2, 4, 0},
    {SYS_ftruncate, "truncate", OF_DESCRIPTOR, 0, 0, 0},
    {SYS_fallocate, "allocate", OF_DESCRIPTOR, 0, 0, 0},
    {SYS_fsync, "sync", OF_DESCRIPTOR, 0, 0, 0},
    {SYS_fdatasync, "sync", OF_DESCRIPTOR, 0, 0, 0},
    {SYS_syncfs, "sync-all", OF_DESCRIPTOR, 0, 0, 0},
    {SYS_sync_file_range, "writeback", OF_DESCRIPTOR, 0, 0, 0},
    {SYS_fchmod, "mode", OF_DESCRIPTOR, 0, 0, 0},
    {SYS_fchown, "owner", OF_DESCRIPTOR, 0, 0, 0},
    {SYS_fsetxattr, "attribute", OF_DESCRIPTOR, 0, 0, 0},
    {SYS_fremovexattr, "attribute", OF_DESCRIPTOR, 0, 0, 0},
    {SYS_ioctl, "ioctl", OF_DESCRIPTOR, 0, 0, 0},
    {SYS_truncate, "truncate", OF_NAME, 0, 0, 0},
    {SYS_setxattr, "attribute", OF_NAME, 0, 0, 0},
    {SYS_lsetxattr, "attribute", OF_NAME, 0, 0, 0},
    {SYS_removexattr, "attribute", OF_NAME, 0, 0, 0},
    {SYS_openat, "create", OF_PATH, 0, 0, 0},
    {SYS_openat2, "create", OF_PATH, 0, 0, 0},
    {SYS_mkdirat, "mkdir", OF_PATH, 0, 0, 0},
    {SYS_mknodat, "mknod", OF_PATH, 0, 0, 0},
    {SYS_unlinkat, "unlink", OF_PATH, 0, 0, 0},
    {SYS_symlinkat, "symlink", OF_PATH, 1, 0, 0},
    {SYS_utimensat, "times", OF_PATH, 0, 0, 0},
    {SYS_fchmodat, "mode", OF_PATH, 0, 0, 0},
    {SYS_fchownat, "owner", OF_PATH, 0, 0, 0},
    {SYS_linkat, "link", OF_TWO_PATHS, 0, 0, 0},
    {SYS_renameat, "rename", OF_TWO_PATHS, 0, 0, 0},
    {SYS_renameat2, "rename", OF_TWO_PATHS, 0, 0, 0},
};

static const rule *rule_of(long number, const long *a) {
    const int changes = O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY);
    if (number == SYS_openat && !(a[2] & changes)) return NULL;
    if (number == SYS_openat2 && !(((const struct open_how *)a[2])->flags & changes)) return NULL;
    if (number == SYS_ioctl && a[1] != (long)FICLONE && a[1] != (long)FICLONERANGE && a[1] != (long)FS_IOC_SETFLAGS) return NULL;
    for (size_t index = 0; index < sizeof rules / sizeof *rules; index++)
        if (rules[index].number == number) return &rules[index];
    return NULL;
}

static int path_of_descriptor(int descriptor, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = descriptor == AT_FDCWD ? readlink("/proc/self/cwd", path, PATH_MAX - 1) : readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return 1;
}

static int path_of(long descriptor, const char *name, char *path) {
    if (!name || !*name) return path_of_descriptor((int)descriptor, path);
    if (*name == '/') return snprintf(path, PATH_MAX, "%s", name) < PATH_MAX;
    if (!path_of_descriptor((int)descriptor, path)) return 0;
    size_t length = strlen(path);
    return (size_t)snprintf(path + length, PATH_MAX - length, "/%s", name) < PATH_MAX - length;
}

static int is_under(const char *path) {
    return !strncmp(path, under, under_length) && (path[under_length] == '/' || path[under_length] == 0);
}

static size_t bytes_in(const struct iovec *vectors, long number) {
    size_t total = 0;
    for (long index = 0; index < number; index++) total += vectors[index].iov_len;
    return total;
}

// Makes `a` write half of its bytes; 0 where it has too few.
static int halve(const rule *rule, long *a, struct iovec *vectors) {
    if (!rule->length) return 0;
    if (!rule->vectors) {
        if (a[rule->length] < 2) return 0;
        a[rule->length] /= 2;
        return 1;
    }
    const struct iovec *all = (const struct iovec *)a[rule->vectors];
    size_t left = bytes_in(all, a[rule->length]) / 2;
    long number = 0;
    for (; left > 0 && number < MOST_VECTORS; number++) {
        vectors[number] = all[number];
        if (vectors[number].iov_len > left) vectors[number].iov_len = left;
        left -= vectors[number].iov_len;
    }
    a[rule->vectors] = (long)vectors;
    a[rule->length] = number;
    return number > 0;
}

static void note(const rule *rule, const char *result, const char *first, const char *second) {
    if (log_file < 0) return;
    char line[2 * PATH_MAX + 100];
    int length = snprintf(line, sizeof line, "%ld\t%s\t%s\t%s\t%s\n", count, rule->operation, result, first, second);
    kernel(SYS_write, log_file, line, (long)length);
}

static void die(void) {
    uint32_t flags = (uint32_t)value;
    if (what == CUT && kernel(SYS_ioctl, folder, (long)SHUT_DOWN, &flags) != 0) refuse("the file system cannot be shut down");
    kernel(SYS_kill, (long)getpid(), (long)SIGKILL);
    for (;;) pause();
}

static long faulty(const rule *rule, long number, long *a, const char *first, const char *second) {
    struct iovec vectors[MOST_VECTORS];
    long result = -1;
    switch (what) {
    case FAIL:
    case FAIL_ON:
        errno = (int)value;
        note(rule, "failed", first, second);
        errno = (int)value;
        return -1;
    case STOP:
        note(rule, "stopped", first, second);
        kernel(SYS_kill, (long)getpid(), (long)SIGSTOP);
        return kernel(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    case SHORT:
        halve(rule, a, vectors);
        result = kernel(number, a[0], a[1], a[2], a[3], a[4], a[5]);
        int error = errno;
        note(rule, result < 0 ? "error" : "short", first, second);
        errno = error;
        return result;
    default: break;
    }
    int made = when == AFTER || (when == MIDDLE && halve(rule, a, vectors));
    if (made) result = kernel(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    note(rule, !made ? "not made" : result < 0 ? "error" : when == MIDDLE ? "half" : "made", first, second);
    die();
    return -1;
}

static long call(long number, long a0, long a1, long a2, long a3, long a4, long a5) {
    find_kernel(); // Another library may begin before this one.
    long a[6] = {a0, a1, a2, a3, a4, a5};
    char first[PATH_MAX] = "", second[PATH_MAX] = "";
    const rule *rule = under_length ? rule_of(number, a) : NULL;
    int error = errno, counts = 0;
    if (rule) {
        long i = rule->argument;
        if (rule->place == OF_DESCRIPTOR) counts = path_of_descriptor((int)a[i], first) && is_under(first);
        else if (rule->place == OF_NAME) counts = path_of(AT_FDCWD, (const char *)a[i], first) && is_under(first);
        else counts = path_of(a[i], (const char *)a[i + 1], first) && is_under(first);
        if (rule->place == OF_TWO_PATHS) counts = (path_of(a[i + 2], (const char *)a[i + 3], second) && is_under(second)) || counts;
    }
    errno = error;
    if (!counts) return kernel(number, a0, a1, a2, a3, a4, a5);
    pthread_mutex_lock(&turn);
    count++;
    long result;
    if (at && (count == at || (what == FAIL_ON && count > at))) {
        result = faulty(rule, number, a, first, second);
    } else {
        result = kernel(number, a0, a1, a2, a3, a4, a5);
        error = errno;
        note(rule, result < 0 ? "error" : "made", first, second);
        errno = error;
    }
    error = errno;
    pthread_mutex_unlock(&turn);
    errno = error;
    return result;
}

#define CALL(...) CALL_(__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define CALL_(number, a, b, c, d, e, f, ...) call(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

long syscall(long number, ...) {
    va_list list;
    long a[6];
    va_start(list, number);
    for (int index = 0; index < 6; index++) a[index] = va_arg(list, long);
    va_end(list);
    return call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

#define OPEN(name, parameters, folder) \
    int name parameters { \
        va_list list; \
        va_start(list, flags); \
        mode_t mode = flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)) ? va_arg(list, mode_t) : 0; \
        va_end(list); \
        return (int)CALL(SYS_openat, folder, path, flags, mode); \
    }
OPEN(open, (const char *path, int flags, ...), AT_FDCWD)
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD)
OPEN(openat, (int at_, const char *path, int flags, ...), at_)
OPEN(openat64, (int at_, const char *path, int flags, ...), at_)
int creat(const char *path, mode_t mode) { return (int)CALL(SYS_openat, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

ssize_t write(int fd, const void *bytes, size_t length) { return CALL(SYS_write, fd, bytes, length); }
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return CALL(SYS_pwrite64, fd, bytes, length, offset); }
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) { return CALL(SYS_pwrite64, fd, bytes, length, offset); }
ssize_t writev(int fd, const struct iovec *v, int number) { return CALL(SYS_writev, fd, v, number); }
ssize_t pwritev(int fd, const struct iovec *v, int number, off_t offset) { return CALL(SYS_pwritev, fd, v, number, offset); }
ssize_t pwritev64(int fd, const struct iovec *v, int number, off64_t offset) { return CALL(SYS_pwritev, fd, v, number, offset); }
ssize_t pwritev2(int fd, const struct iovec *v, int number, off_t offset, int flags) {
    return CALL(SYS_pwritev2, fd, v, number, offset, 0, flags);
}
ssize_t pwritev64v2(int fd, const struct iovec *v, int number, off64_t offset, int flags) {
    return CALL(SYS_pwritev2, fd, v, number, offset, 0, flags);
}
ssize_t sendfile(int to, int from, off_t *offset, size_t length) { return CALL(SYS_sendfile, to, from, offset, length); }
ssize_t sendfile64(int to, int from, off64_t *offset, size_t length) { return CALL(SYS_sendfile, to, from, offset, length); }
ssize_t splice(int from, off64_t *a, int to, off64_t *b, size_t length, unsigned flags) {
    return CALL(SYS_splice, from, a, to, b, length, flags);
}
ssize_t copy_file_range(int from, off64_t *a, int to, off64_t *b, size_t length, unsigned flags) {
    return CALL(SYS_copy_file_range, from, a, to, b, length, flags);
}
int ftruncate(int fd, off_t length) { return (int)CALL(SYS_ftruncate, fd, length); }
int truncate(const char *path, off_t length) { return (int)CALL(SYS_truncate, path, length); }
int truncate64(const char *path, off64_t length) { return (int)CALL(SYS_truncate, path, length); }
int ftruncate64(int fd, off64_t length) { return (int)CALL(SYS_ftruncate, fd, length); }
int fallocate(int fd, int mode, off_t offset, off_t length) { return (int)CALL(SYS_fallocate, fd, mode, offset, length); }
int fallocate64(int fd, int mode, off64_t offset, off64_t length) { return (int)CALL(SYS_fallocate, fd, mode, offset, length); }
int posix_fallocate(int fd, off_t offset, off_t length) { return CALL(SYS_fallocate, fd, 0, offset, length) ? errno : 0; }
int posix_fallocate64(int fd, off64_t offset, off64_t length) { return CALL(SYS_fallocate, fd, 0, offset, length) ? errno : 0; }
int fsync(int fd) { return (int)CALL(SYS_fsync, fd); }
int fdatasync(int fd) { return (int)CALL(SYS_fdatasync, fd); }
int syncfs(int fd) { return (int)CALL(SYS_syncfs, fd); }
int sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags) {
    return (int)CALL(SYS_sync_file_range, fd, offset, length, flags);
}
int rename(const char *from, const char *to) { return (int)CALL(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to); }
int renameat(int a, const char *from, int b, const char *to) { return (int)CALL(SYS_renameat2, a, from, b, to); }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
    return (int)CALL(SYS_renameat2, a, from, b, to, flags);
}
int link(const char *from, const char *to) { return (int)CALL(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to); }
int linkat(int a, const char *from, int b, const char *to, int flags) { return (int)CALL(SYS_linkat, a, from, b, to, flags); }
int symlink(const char *text, const char *path) { return (int)CALL(SYS_symlinkat, text, AT_FDCWD, path); }
int symlinkat(const char *text, int a, const char *path) { return (int)CALL(SYS_symlinkat, text, a, path); }
int unlink(const char *path) { return (int)CALL(SYS_unlinkat, AT_FDCWD, path); }
int unlinkat(int a, const char *path, int flags) { return (int)CALL(SYS_unlinkat, a, path, flags); }
int rmdir(const char *path) { return (int)CALL(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char *path) {
    int result = unlink(path);
    return result != 0 && errno == EISDIR ? rmdir(path) : result;
}
int mkdir(const char *path, mode_t mode) { return (int)CALL(SYS_mkdirat, AT_FDCWD, path, mode); }
int mkdirat(int a, const char *path, mode_t mode) { return (int)CALL(SYS_mkdirat, a, path, mode); }
int mknod(const char *path, mode_t mode, dev_t device) { return (int)CALL(SYS_mknodat, AT_FDCWD, path, mode, device); }
int mknodat(int a, const char *path, mode_t mode, dev_t device) { return (int)CALL(SYS_mknodat, a, path, mode, device); }
int mkfifo(const char *path, mode_t mode) { return (int)CALL(SYS_mknodat, AT_FDCWD, path, mode | S_IFIFO); }
int futimens(int fd, const struct timespec times[2]) { return (int)CALL(SYS_utimensat, fd, NULL, times); }
int utimensat(int a, const char *path, const struct timespec times[2], int flags) {
    return (int)CALL(SYS_utimensat, a, path, times, flags);
}
int chmod(const char *path, mode_t mode) { return (int)CALL(SYS_fchmodat, AT_FDCWD, path, mode); }
int fchmod(int fd, mode_t mode) { return (int)CALL(SYS_fchmod, fd, mode); }
int chown(const char *path, uid_t user, gid_t group) { return (int)CALL(SYS_fchownat, AT_FDCWD, path, user, group); }
int lchown(const char *path, uid_t user, gid_t group) {
    return (int)CALL(SYS_fchownat, AT_FDCWD, path, user, group, AT_SYMLINK_NOFOLLOW);
}
int fchown(int fd, uid_t user, gid_t group) { return (int)CALL(SYS_fchown, fd, user, group); }
int fchownat(int a, const char *path, uid_t user, gid_t group, int flags) {
    return (int)CALL(SYS_fchownat, a, path, user, group, flags);
}
int fsetxattr(int fd, const char *name, const void *bytes, size_t length, int flags) {
    return (int)CALL(SYS_fsetxattr, fd, name, bytes, length, flags);
}
int setxattr(const char *path, const char *name, const void *bytes, size_t length, int flags) {
    return (int)CALL(SYS_setxattr, path, name, bytes, length, flags);
}
int lsetxattr(const char *path, const char *name, const void *bytes, size_t length, int flags) {
    return (int)CALL(SYS_lsetxattr, path, name, bytes, length, flags);
}
int removexattr(const char *path, const char *name) { return (int)CALL(SYS_removexattr, path, name); }
int fremovexattr(int fd, const char *name) { return (int)CALL(SYS_fremovexattr, fd, name); }
int ioctl(int fd, unsigned long request, ...) {
    va_list list;
    va_start(list, request);
    void *argument = va_arg(list, void *);
    va_end(list);
    return (int)CALL(SYS_ioctl, fd, request, argument);
}
