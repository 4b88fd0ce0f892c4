/** MOUNT_ATTR_* of mount_setattr(2). */
export const MOUNT_ATTR = {
  RDONLY: 0x1,
  NOSUID: 0x2,
  NODEV: 0x4,
  NOEXEC: 0x8,
  NOATIME: 0x10,
  STRICTATIME: 0x20,
  NODIRATIME: 0x80,
} as const;
/** MS_PRIVATE, MS_SLAVE and MS_SHARED of mount(2). */
export const PROPAGATION = { private: 1 << 18, slave: 1 << 19, shared: 1 << 20 } as const;
