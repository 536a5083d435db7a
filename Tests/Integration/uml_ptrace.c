// For linux.uml on processors whose extended state is longer than its buffer (AMX): registers are read and written in full length.
#define _GNU_SOURCE
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

long ptrace(enum __ptrace_request request, ...) {
    va_list list;
    va_start(list, request);
    pid_t pid = va_arg(list, pid_t);
    void *address = va_arg(list, void *);
    void *data = va_arg(list, void *);
    va_end(list);
    if (request == PTRACE_SETREGSET && address == (void *)NT_X86_XSTATE) {
        static __thread unsigned char whole[1 << 16] __attribute__((aligned(64)));
        struct iovec *given = data, full = {whole, sizeof whole};
        if (syscall(SYS_ptrace, PTRACE_GETREGSET, pid, address, &full) == 0 && full.iov_len > given->iov_len) {
            memcpy(whole, given->iov_base, given->iov_len);
            return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, address, &full);
        }
    }
    if (request == PTRACE_PEEKUSER || request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA) {
        long word, result = syscall(SYS_ptrace, request, pid, address, &word);
        return result < 0 ? result : word;
    }
    return syscall(SYS_ptrace, request, pid, address, data);
}
