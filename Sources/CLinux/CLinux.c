#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include "CLinux.h"
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

off_t clinux_seek_data(int fd, off_t from) { return lseek(fd, from, SEEK_DATA); }

off_t clinux_seek_hole(int fd, off_t from) { return lseek(fd, from, SEEK_HOLE); }

int clinux_punch_hole(int fd, off_t offset, off_t length) {
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
}

int clinux_zero_range(int fd, off_t offset, off_t length) {
    return fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset, length);
}

int clinux_share(int from, off_t offset, off_t length, int to, off_t place) {
    struct file_clone_range range = {.src_fd = from, .src_offset = offset, .src_length = length, .dest_offset = place};
    return ioctl(to, FICLONERANGE, &range);
}

long clinux_block_length(int fd) {
    struct statfs status;
    return fstatfs(fd, &status) == 0 ? (long)status.f_bsize : 0;
}

int clinux_start_writeback(int fd, off_t offset, off_t length) {
    return sync_file_range(fd, offset, length, SYNC_FILE_RANGE_WRITE);
}

int clinux_set_mtime(int fd, long seconds, long nanoseconds) {
    struct timespec times[2] = {{0, UTIME_OMIT}, {seconds, nanoseconds}};
    return futimens(fd, times);
}

int clinux_open(const char *path, int flags, unsigned mode) { return open(path, flags | O_CLOEXEC, mode); }

int clinux_open_at(int folder, const char *name, int flags, unsigned mode) {
    return openat(folder, name, flags | O_CLOEXEC, mode);
}

int clinux_open_unnamed(int folder) { return openat(folder, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); }

int clinux_spawn_closes(posix_spawn_file_actions_t *actions, int fd) {
    return posix_spawn_file_actions_addclosefrom_np(actions, fd);
}

int clinux_empty_file(void) {
    int fd = memfd_create("drover", MFD_CLOEXEC);
    if (fd >= 0) fchmod(fd, 0600);
    return fd;
}

int clinux_open_folder(int folder, const char *name, int follows) {
    return openat(folder, name, O_PATH | O_DIRECTORY | O_CLOEXEC | (follows ? 0 : O_NOFOLLOW));
}

int clinux_open_unread(int folder, const char *name) { return openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC); }

static struct flock whole_file(short type) {
    struct flock lock;
    memset(&lock, 0, sizeof lock);
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    return lock;
}

int clinux_lock_exclusive(int fd) {
    struct flock lock = whole_file(F_WRLCK);
    return fcntl(fd, F_OFD_SETLK, &lock);
}

int clinux_lock_start(int fd, int kind) {
    struct flock lock = whole_file(kind == 0 ? F_UNLCK : kind == 1 ? F_RDLCK : F_WRLCK);
    lock.l_len = 1;
    return fcntl(fd, F_OFD_SETLK, &lock);
}

int clinux_lock_holder(int fd, int readers, pid_t *pid) {
    struct flock lock = whole_file(readers ? F_WRLCK : F_RDLCK);
    if (fcntl(fd, F_OFD_GETLK, &lock) != 0) return -1;
    if (lock.l_type == F_UNLCK) return 0;
    *pid = lock.l_pid;
    return 1;
}

int clinux_lock_at(int fd, off_t start, off_t length, pid_t *pid, off_t *from, off_t *count) {
    struct flock lock = whole_file(F_WRLCK);
    lock.l_start = start;
    lock.l_len = length;
    if (fcntl(fd, F_OFD_GETLK, &lock) != 0) return -1;
    if (lock.l_type == F_UNLCK) return 0;
    *pid = lock.l_pid;
    *from = lock.l_start;
    *count = lock.l_len;
    return 1;
}

int clinux_file_system_type(int fd, uint32_t *type) {
    struct statfs status;
    if (fstatfs(fd, &status) != 0) return -1;
    *type = (uint32_t)status.f_type;
    return 0;
}

int clinux_block_device_size(int fd, uint64_t *size) { return ioctl(fd, BLKGETSIZE64, size); }

int clinux_free_space(const char *path, uint64_t *bytes) {
    struct statfs status;
    if (statfs(path, &status) != 0) return -1;
    switch ((uint32_t)status.f_type) {
    case 0xef53: // ext2, ext3, ext4
    case 0x58465342: // XFS
    case 0x01021994: break; // tmpfs
    default: return 0;
    }
    uint64_t blocks = geteuid() == 0 ? status.f_bfree : status.f_bavail;
    return !__builtin_mul_overflow(blocks, (uint64_t)status.f_frsize, bytes);
}

int clinux_holds_no_files(int fd) {
    struct statfs status;
    if (fstatfs(fd, &status) != 0) return -1;
    switch ((uint32_t)status.f_type) {
    case 0x19800202: // mqueue
    case 0x1cd1: // devpts
    case 0x958458f6: return 1; // hugetlbfs
    default: return 0;
    }
}

int clinux_rename_new(int folder, const char *from, const char *to) {
    return renameat2(folder, from, folder, to, RENAME_NOREPLACE);
}

int clinux_terminal_columns(int fd) {
    struct winsize window;
    return ioctl(fd, TIOCGWINSZ, &window) == 0 ? window.ws_col : -1;
}

void clinux_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }
