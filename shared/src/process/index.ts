export { DEFAULT_SOCKET_GROUP, socketGroupId } from './group.js';
export * from './pid-file.js';
