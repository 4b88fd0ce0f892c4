export { EtcdSupervisor, type EtcdSupervisorOptions } from './etcd-supervisor.js';
