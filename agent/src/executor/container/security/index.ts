export { apparmorProfile } from './apparmor.js';
export { readSecurityModules, type SecurityModules } from './security-modules.js';
export { securityOptions } from './security-options.js';
export { labelFlag, labelRecord } from './selinux/label-record.js';
export { SelinuxLabels } from './selinux/labels.js';
export type { SelinuxMode } from './selinux/policy.js';
