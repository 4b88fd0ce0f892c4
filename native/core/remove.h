/* Taking away a container's directories. Private to core/. 0, or -errno. */
#ifndef TESSERA_CORE_REMOVE_H
#define TESSERA_CORE_REMOVE_H

/* A cgroup and those below it, once they are empty. */
int rt_remove_group(const char *path);

#endif
