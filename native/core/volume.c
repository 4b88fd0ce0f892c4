/* Volumes that are a mount of their own, as their driver options say: made on the host, for all its containers. */
#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

#define PROPAGATIONS (MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE)

int rt_volume_mount(const char *device, const char *target, const char *type, unsigned flags, const char *data,
                    rt_error *err) {
  unsigned long first = flags & ~(unsigned long)PROPAGATIONS;
  if (mount(device, target, type, first, *data ? data : NULL))
    return rt_fail(err, errno, "mounting %s of type %s", device, type);
  /* A bind takes its flags in a second step, and any mount its propagation in one of its own. */
  unsigned long rest = first & ~(unsigned long)(MS_BIND | MS_REC);
  int status = 0;
  if ((first & MS_BIND) && rest && mount(NULL, target, NULL, MS_REMOUNT | MS_BIND | rest, NULL)) status = errno;
  if (!status && (flags & PROPAGATIONS) && mount(NULL, target, NULL, flags & (PROPAGATIONS | MS_REC), NULL))
    status = errno;
  if (!status) return 0;
  umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW);
  return rt_fail(err, status, "mounting %s of type %s", device, type);
}

int rt_volume_unmount(const char *target, rt_error *err) {
  if (umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) == 0 || errno == EINVAL || errno == ENOENT) return 0;
  return rt_fail(err, errno, "unmounting %s", target);
}
