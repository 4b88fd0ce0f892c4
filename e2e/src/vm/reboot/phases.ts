/**
 * What one boot of the machine is for. The boot after it looks at what it has left; what each checks is in `guest.ts`.
 *
 * | Phase | Does | Ends by |
 * |---|---|---|
 * | `deploy` | installs the unit, makes a cluster, starts containers, restarts the unit | a clean reboot |
 * | `reboot` | looks, starts more | its power being cut |
 * | `power-cut` | looks, leaves the cluster, looks for leftovers | powering off |
 */
export const PHASES = ['deploy', 'reboot', 'power-cut'] as const;
export type Phase = (typeof PHASES)[number];
