// The POSIX access control list of a file, as the kernel stores it, beside its mode (acl(5), linux/posix_acl_xattr.h).
#ifndef CLINUX_ACCESS_H
#define CLINUX_ACCESS_H
#include <stddef.h>
#include <sys/types.h>

// The list's bytes in `buffer`, at most `size` of them: how many there are, 0 where the file has none or its file system knows none, -1 with errno.
ssize_t clinux_get_acl(int fd, void *buffer, size_t size);
// The same of the file called `path`, links followed.
ssize_t clinux_get_acl_of(const char *path, void *buffer, size_t size);
// Gives the file this list; 0, or -1 with errno.
int clinux_set_acl(int fd, const void *bytes, size_t size);
// Takes the file's list away, as one that a folder's default gave it; 0, also where there is none, or -1 with errno.
int clinux_remove_acl(int fd);
#endif
