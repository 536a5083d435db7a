#include "CLinuxAccess.h"

#include <errno.h>
#include <sys/xattr.h>

static const char acl_name[] = "system.posix_acl_access";

static int means_none(int error) { return error == ENODATA || error == EOPNOTSUPP || error == ENOSYS; }

ssize_t clinux_get_acl(int fd, void *buffer, size_t size) {
    ssize_t count = fgetxattr(fd, acl_name, buffer, size);
    return count < 0 && means_none(errno) ? 0 : count;
}

ssize_t clinux_get_acl_of(const char *path, void *buffer, size_t size) {
    ssize_t count = getxattr(path, acl_name, buffer, size);
    return count < 0 && means_none(errno) ? 0 : count;
}

int clinux_set_acl(int fd, const void *bytes, size_t size) { return fsetxattr(fd, acl_name, bytes, size, 0); }

int clinux_remove_acl(int fd) {
    int result = fremovexattr(fd, acl_name);
    return result < 0 && means_none(errno) ? 0 : result;
}
