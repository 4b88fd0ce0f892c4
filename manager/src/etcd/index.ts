export { EtcdSupervisor, type EtcdSupervisorOptions } from './etcd-supervisor.js';
export { type EtcdTlsFiles, readEtcdTls } from './external-etcd.js';
