/** What is hidden from containers unless they ask for it. Source: moby oci/defaults.go, in its order; what newer ones add stands last. */
export const MASKED_PATHS_DEFAULT: readonly string[] = [
  '/proc/asound',
  '/proc/acpi',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
  '/proc/interrupts',
  '/sys/devices/virtual/powercap',
];
/** What they may read and not change. */
export const READONLY_PATHS_DEFAULT: readonly string[] = [
  '/proc/bus',
  '/proc/fs',
  '/proc/irq',
  '/proc/sys',
  '/proc/sysrq-trigger',
];
