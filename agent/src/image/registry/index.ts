export { HostRegistries, type RegistryImages } from './host-registries.js';
export * from './progress.js';
export { type ImageIntake, Puller, type PullRequest } from './puller.js';
export type { PushRequest } from './pusher.js';
export { Registries, type RegistriesOptions } from './registries.js';
export { NO_AUTH, parseRegistryAuth, type RegistryAuth } from './registry-auth.js';
export type { RegistrySettings } from './registry-settings.js';
export type { RemoteDescription } from './remote-image.js';
