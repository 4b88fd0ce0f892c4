/** MOUNT_ATTR_* of mount_setattr(2). */
export const MOUNT_ATTR = { RDONLY: 0x1, NOSUID: 0x2, NODEV: 0x4, NOEXEC: 0x8 } as const;
/** MS_PRIVATE and MS_SLAVE of mount(2). */
export const PROPAGATION = { private: 1 << 18, slave: 1 << 19 } as const;
