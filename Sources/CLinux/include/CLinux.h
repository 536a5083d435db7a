// What Linux offers and Swift's Glibc module does not show: calls and constants behind _GNU_SOURCE, and variadic calls.
#ifndef CLINUX_H
#define CLINUX_H
#include <spawn.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include "CLinuxAccess.h"
#include "CLinuxMemory.h"
#include "CLinuxSignals.h"
#include "CLinuxTokens.h"

// lseek(SEEK_DATA) and lseek(SEEK_HOLE).
off_t clinux_seek_data(int fd, off_t from);
off_t clinux_seek_hole(int fd, off_t from);
// fallocate(PUNCH_HOLE | KEEP_SIZE).
int clinux_punch_hole(int fd, off_t offset, off_t length);
// fallocate(ZERO_RANGE | KEEP_SIZE).
int clinux_zero_range(int fd, off_t offset, off_t length);
// Lets `to` share `length` bytes of `from`'s extents, where the file system can.
int clinux_share(int from, off_t offset, off_t length, int to, off_t place);
// The length of a block of the file system of `fd`, 0 where that cannot be told.
long clinux_block_length(int fd);
// sync_file_range(WRITE): starts write-back and does not wait for it.
int clinux_start_writeback(int fd, off_t offset, off_t length);
// Sets the modification time and leaves the access time: futimens with UTIME_OMIT.
int clinux_set_mtime(int fd, long seconds, long nanoseconds);
// open(2) with O_CLOEXEC added.
int clinux_open(const char *path, int flags, unsigned mode);
// openat(2) with O_CLOEXEC added.
int clinux_open_at(int folder, const char *name, int flags, unsigned mode);
// Makes a file without a name in a folder; it goes away when it is closed.
int clinux_open_unnamed(int folder);
// The program that is started has no open file from `fd` on.
int clinux_spawn_closes(posix_spawn_file_actions_t *actions, int fd);
// An empty file in memory, of this user alone.
int clinux_empty_file(void);
// Opens a folder to look up names in (O_PATH), which it need not be readable for; whether a link at the end is followed.
int clinux_open_folder(int folder, const char *name, int follows);
// Opens whatever has the name, a link too, to ask for what it is (O_PATH); it need not be readable.
int clinux_open_unread(int folder, const char *name);
// Open-file-description lock on the whole file: 0, or -1 with errno.
int clinux_lock_exclusive(int fd);
// Open-file-description lock on the first byte alone: 0 gives it back, 1 for reading, 2 for writing. 0, or -1 with errno.
int clinux_lock_start(int fd, int kind);
// Asks whether another process holds a lock that keeps us from reading, or, with readers, any lock: 1 yes (its pid in *pid,
// -1 when it is an open-file-description lock), 0 no, -1 with errno.
int clinux_lock_holder(int fd, int readers, pid_t *pid);
// Asks which lock of anybody keeps us from writing `length` bytes at `start`: as above, with where it lies in *from and *count (0: to the end).
// Of several it names one.
int clinux_lock_at(int fd, off_t start, off_t length, pid_t *pid, off_t *from, off_t *count);
// The type of the file system that an open file lies on, as statfs(2) has it: 0, or -1 with errno.
int clinux_file_system_type(int fd, uint32_t *type);
// The size of a block device in bytes: 0, or -1 with errno.
int clinux_block_device_size(int fd, uint64_t *size);
// Bytes that this process may still write to the file system of path, where every byte written takes a byte there (ext2 to
// ext4, XFS, tmpfs): 1; 0 where that is not known; -1 with errno.
int clinux_free_space(const char *path, uint64_t *bytes);
// Whether the file system of fd holds something else than ordinary files, although they can be made there like these: message
// queues, terminals, huge pages. 1 yes, 0 no, -1 with errno.
int clinux_holds_no_files(int fd);
// Renames within a folder where nothing has the new name: 0, or -1 with errno; EINVAL or ENOSYS where the file system cannot
// promise that.
int clinux_rename_new(int folder, const char *from, const char *to);
// ioctl(TIOCGWINSZ): columns of the terminal, or -1.
int clinux_terminal_columns(int fd);
// Names the calling thread, in at most 15 bytes, for whoever looks at /proc.
void clinux_name_thread(const char *name);
#endif
