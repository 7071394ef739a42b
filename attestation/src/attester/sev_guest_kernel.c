/* The driver's side of /dev/sev-guest, by the kernel's own header: put in front of the C library for one process (LD_PRELOAD), it
 * answers the device's one request with a report from a file, and refuses what a kernel would refuse. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sev-guest.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/types.h>

/* MSG_REPORT_RSP (AMD 56860, table 26), which the driver hands out in snp_report_resp. */
struct report_response {
    __u32 status;
    __u32 report_size;
    __u8 reserved[24];
    __u8 report[1184];
};

static int device = -1;

static int opened(const char *path, int flags, mode_t mode)
{
    int (*next)(const char *, int, ...) = dlsym(RTLD_NEXT, "open64");
    if (strcmp(path, "/dev/sev-guest") != 0)
        return next(path, flags, mode);
    device = next("/dev/null", O_RDWR);
    return device;
}

static mode_t mode_of(int flags, va_list rest)
{
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;
}

int open64(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    return opened(path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    return opened(path, flags, mode);
}

static int refused(int reason)
{
    errno = reason;
    return -1;
}

static int get_report(struct snp_guest_request_ioctl *request)
{
    const struct snp_report_req *asked = (const void *)(unsigned long)request->req_data;
    struct snp_report_resp *answer = (void *)(unsigned long)request->resp_data;
    struct report_response response = { .report_size = sizeof(response.report) };
    static const __u8 zeros[sizeof(asked->rsvd)];
    const char *vmpl = getenv("CONSORT_TEST_DRIVER_VMPL");
    FILE *file = fopen(getenv("CONSORT_TEST_REPORT"), "rb");

    if (request->msg_version == 0 || !asked || !answer || !file)
        return refused(EINVAL);
    if (fread(response.report, 1, sizeof(response.report), file) != sizeof(response.report))
        return refused(EIO);
    fclose(file);
    if (memcmp(asked->rsvd, zeros, sizeof(zeros)) != 0 || asked->vmpl != (__u32)atoi(vmpl))
        return refused(EINVAL);
    /* REPORT_DATA stands at 0x50 of a report. */
    if (memcmp(asked->user_data, response.report + 0x50, sizeof(asked->user_data)) != 0)
        return refused(EPERM);
    memset(answer, 0, sizeof(*answer));
    memcpy(answer->data, &response, sizeof(response));
    request->exitinfo2 = 0;
    return 0;
}

int ioctl(int descriptor, unsigned long request, ...)
{
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    int (*next)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
    if (device < 0 || descriptor != device)
        return next(descriptor, request, argument);
    return request == SNP_GET_REPORT ? get_report(argument) : refused(ENOTTY);
}
